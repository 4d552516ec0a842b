#include "local/initialise.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/bytes.hpp"
#include "base/random.hpp"
#include "crypto/scram.hpp"
#include "local/spawn.hpp"

namespace citadel::local {
namespace {

constexpr std::uint64_t free_bytes_min =
    512ull * 1024 * 1024;  // a new cluster takes 40 MiB, and its log 1 GiB soon

Result<Secret> load_password(const Layout& layout, std::string_view role, bool make) {
  const auto path = password_path(layout, role);
  auto known = read_secret_file(path);
  if (known) return Secret(*known);
  if (known.error().code != Code::not_found) return std::unexpected(known.error());
  if (!make) {
    return fail(Code::not_found,
                fmt::format("{} is gone, and with it the password of {}; put it back from a backup",
                            path.string(), role));
  }
  std::array<unsigned char, 24> raw{};
  fill_secret_random(raw);
  Secret secret(to_hex(std::as_bytes(std::span(raw))));
  CITADEL_TRY(write_file_durably(path, secret.reveal() + "\n", 0600));
  return secret;
}

// The passwords are 192 random bits: no guessing is made harder by stretching them, so Citadel's own role, as
// which it logs in again and again, does without. The others are for people, and some people's clients take
// no less than 4096.
constexpr unsigned app_iterations = 1;
constexpr unsigned other_iterations = 4096;

std::string make_verifier(const Secret& password, unsigned iterations) {
  std::array<unsigned char, 16> salt{};
  fill_secret_random(salt);
  return crypto::scram_verifier(password, std::as_bytes(std::span(salt)), iterations);
}

Result<void> check_space(const Layout& layout) {
  std::error_code error;
  const auto space = std::filesystem::space(layout.data, error);
  if (!error && space.available < free_bytes_min) {
    return fail(Code::storage_full,
                fmt::format("data folder {} has {} MiB free; PostgreSQL needs {} MiB to start with",
                            layout.data.string(), space.available >> 20, free_bytes_min >> 20));
  }
  return {};
}

// A file of the servers': no secret may be readable before it has its owner and mode, so the file is made
// anew. Synced, since the rename that makes a new PGDATA trusted must not become durable before it.
Result<void> write_for(const Account& account, const std::filesystem::path& path, std::string_view content) {
  ::unlink(path.c_str());
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return fail_errno(errno, fmt::format("create {}", path.string()));
  if (account.drop && ::fchown(fd.get(), account.uid, account.gid) != 0) {
    return fail_errno(errno, fmt::format("give {} to {}", path.string(), account.name));
  }
  CITADEL_TRY(write_all(fd.get(), content, path));
  if (::fsync(fd.get()) != 0) return fail_errno(errno, fmt::format("fsync {}", path.string()));
  return {};
}

}  // namespace

std::filesystem::path password_path(const Layout& layout, std::string_view role) {
  return layout.secrets / fmt::format("{}.password", role);
}

Result<Passwords> load_passwords(const Layout& layout, bool make) {
  Passwords out;
  CITADEL_ASSIGN(out.superuser, load_password(layout, superuser_role, make));
  CITADEL_ASSIGN(out.owner, load_password(layout, owner_role, make));
  CITADEL_ASSIGN(out.app, load_password(layout, app_role, make));
  return out;
}

Result<void> initialise(const Layout& layout, const Account& account, const Programs& programs,
                        const Passwords& passwords, Durability durability, Deadline deadline,
                        const Progress& progress, const std::stop_token& stop) {
  CITADEL_TRY(check_space(layout));
  std::error_code error;
  std::filesystem::remove_all(layout.postgres_new, error);
  if (error) return fail_errno(error.value(), fmt::format("remove {}", layout.postgres_new.string()));
  CITADEL_TRY(own_folder(layout.postgres_new, account, 0700));
  progress(fmt::format("making a PostgreSQL {} database cluster in {}", programs.postgres_major,
                       layout.postgres.string()));
  // Nobody can connect before our own pg_hba is there. The passwords are set below, and not even then does
  // PostgreSQL see one: it gets what it keeps of them.
  Command initdb{.arguments = {programs.initdb.string(), "-D", layout.postgres_new.string(), "-U",
                               std::string(superuser_role), "--encoding=UTF8", "--locale=C.UTF-8",
                               "--data-checksums", "--auth=reject", "--no-instructions"},
                 .folder = layout.pgpool,
                 .death_signal = SIGKILL};
  if (durability == Durability::none) initdb.arguments.push_back("--no-sync");
  auto made = run(initdb, account, {}, deadline, stop);
  if (!made) return std::unexpected(std::move(made).error().in("initdb"));

  progress("making the roles and the database citadel_ai");
  const Command single{
      .arguments = {programs.postgres.string(), "--single", "-j", "-D", layout.postgres_new.string(), "-c",
                    "exit_on_error=on", "-c", "log_statement=none", "-c", "log_min_error_statement=panic",
                    "-c", "log_checkpoints=off", "-c",
                    durability == Durability::none ? "fsync=off" : "fsync=on", "postgres"},
      .folder = layout.postgres_new,
      .death_signal = SIGKILL};
  const auto statements = bootstrap_sql({.superuser = make_verifier(passwords.superuser, other_iterations),
                                         .owner = make_verifier(passwords.owner, other_iterations),
                                         .app = make_verifier(passwords.app, app_iterations)});
  auto booted = run(single, account, statements, deadline, stop);
  if (!booted) return std::unexpected(std::move(booted).error().in("make roles"));

  auto conf = read_file(layout.postgres_new / "postgresql.conf", 1 << 20);
  if (!conf) return std::unexpected(conf.error());
  CITADEL_TRY(
      write_for(account, layout.postgres_new / "postgresql.conf", *conf + "\ninclude = 'citadel.conf'\n"));
  CITADEL_TRY(sync_folder(layout.postgres_new));
  if (::rename(layout.postgres_new.c_str(), layout.postgres.c_str()) != 0) {
    return fail_errno(errno,
                      fmt::format("rename {} to {}", layout.postgres_new.string(), layout.postgres.string()));
  }
  return sync_folder(layout.data);
}

Result<void> write_configuration(const Layout& layout, const Account& account, const ConfigInput& input,
                                 const Passwords& passwords) {
  CITADEL_TRY(write_for(account, layout.postgres / "citadel.conf", postgresql_conf(input)));
  CITADEL_TRY(write_for(account, layout.postgres / "citadel_hba.conf", pg_hba_conf()));
  CITADEL_TRY(write_for(account, layout.pgpool / "pgpool.conf", pgpool_conf(input)));
  CITADEL_TRY(write_for(account, layout.pgpool / "pool_hba.conf", pool_hba_conf()));
  CITADEL_TRY(write_for(account, layout.pgpool / "pcp.conf", ""));
  return write_for(account, layout.pgpool / "pool_passwd", pool_passwd(passwords.owner, passwords.app));
}

}  // namespace citadel::local

#include "local/layout.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <fstream>

#include "local/initialise.hpp"
#include "local/programs.hpp"
#include "local/test_tools.hpp"

namespace citadel::local {
namespace {

using testing::HasSubstr;

TEST(LocalPrograms, MajorVersionIsRead) {
  EXPECT_EQ(parse_postgres_major("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)"), 15);
  EXPECT_EQ(parse_postgres_major("postgres (PostgreSQL) 18beta1"), 18);
  EXPECT_EQ(parse_postgres_major("15\n"), 15);
  EXPECT_EQ(parse_postgres_major("nothing"), std::nullopt);
  EXPECT_EQ(parse_postgres_major("99999999999999"), std::nullopt);
}

TEST(LocalPrograms, MissingOnesAreNamedWithTheirPackages) {
  const Folder folder;
  const auto no_postgres = find_programs(folder.path(), {}, std::nullopt);
  ASSERT_FALSE(no_postgres);
  EXPECT_EQ(no_postgres.error().code, Code::not_found);
  EXPECT_THAT(no_postgres.error().message, HasSubstr("postgresql-15"));
  const auto no_pgpool = find_programs({}, folder / "pgpool", std::nullopt);
  ASSERT_FALSE(no_pgpool);
  EXPECT_THAT(no_pgpool.error().message, HasSubstr("pgpool2"));
}

TEST(LocalPrograms, DataOfAnotherVersionIsRefused) {
  const auto refused = find_programs({}, {}, 14);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::unsupported);
  EXPECT_THAT(refused.error().message, HasSubstr("made by PostgreSQL 14"));
  EXPECT_THAT(refused.error().message, HasSubstr("pg_upgrade"));
}

TEST(LocalPrograms, DataVersionIsReadOrAbsentOrCorrupt) {
  const Folder folder;
  EXPECT_EQ(data_major(folder.path()).value(), std::nullopt);
  std::ofstream(folder / "PG_VERSION") << "16\n";
  EXPECT_EQ(data_major(folder.path()).value(), 16);
  std::ofstream(folder / "PG_VERSION") << "torn";
  EXPECT_EQ(data_major(folder.path()).error().code, Code::corrupt);
}

TEST(LocalAccount, ChoiceIsUnprivileged) {
  const auto chosen = choose_account("");
  ASSERT_TRUE(chosen) << chosen.error().to_string();
  EXPECT_NE(chosen->uid, 0u);
  EXPECT_FALSE(choose_account("no-such-user-here"));
  EXPECT_FALSE(choose_account("root"));
}

TEST(LocalAccount, ClosedFolderOnTheWayIsNamed) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to be another user";
  const Folder folder;
  std::filesystem::create_directories(folder / "closed/data");
  ::chmod(folder.path().c_str(), 0755);
  ::chmod((folder / "closed").c_str(), 0700);
  const auto account = choose_account("nobody").value();
  const auto refused = check_traversable(account, folder / "closed/data");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::permission_denied);
  EXPECT_THAT(refused.error().message,
              HasSubstr(fmt::format("cannot enter {}, on", (folder / "closed").string())));
  ::chmod((folder / "closed").c_str(), 0711);
  EXPECT_TRUE(check_traversable(account, folder / "closed/data"));
}

TEST(LocalLayout, SecondHolderIsRefused) {
  const Folder folder;
  {
    const auto first = prepare_layout(folder / "data", self());
    ASSERT_TRUE(first) << first.error().to_string();
    const auto second = prepare_layout(folder / "data", self());
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, Code::conflict);
    EXPECT_THAT(second.error().message, HasSubstr(fmt::format("process {}", ::getpid())));
  }
  EXPECT_TRUE(prepare_layout(folder / "data", self()));
}

TEST(LocalLayout, FoldersArePrivate) {
  const Folder folder;
  const auto layout = prepare_layout(folder / "data", self());
  ASSERT_TRUE(layout);
  for (const auto& path : {layout->pgpool, layout->run, layout->log, layout->secrets}) {
    struct stat info{};
    ASSERT_EQ(::stat(path.c_str(), &info), 0) << path;
    EXPECT_EQ(info.st_mode & 07777, 0700u) << path;
  }
}

TEST(LocalLayout, FileInTheWayIsSaid) {
  const Folder folder;
  std::ofstream(folder / "data") << "a file";
  EXPECT_EQ(prepare_layout(folder / "data", self()).error().code, Code::invalid_argument);
  EXPECT_EQ(prepare_layout("", self()).error().code, Code::invalid_argument);
}

TEST(LocalLayout, AFolderOfSomethingElseIsRefusedUntouched) {
  const Folder folder;
  std::filesystem::create_directories(folder / "etc/ssh");
  const auto refused = prepare_layout(folder / "etc", self());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::invalid_argument);
  EXPECT_THAT(refused.error().message, HasSubstr("holds something else (ssh)"));
  EXPECT_FALSE(std::filesystem::exists(folder / "etc/lock"));
  // A new file system is as good as an empty folder, and one that was prepared for us is ours.
  std::filesystem::create_directories(folder / "mounted/lost+found");
  EXPECT_TRUE(prepare_layout(folder / "mounted", self()));
  std::filesystem::create_directories(folder / "prepared");
  std::ofstream(folder / "prepared/postgres.extra.conf") << "work_mem = '8MB'\n";
  EXPECT_TRUE(prepare_layout(folder / "prepared", self()));
}

TEST(LocalLayout, UnwritableFolderIsSaid) {
  // Nobody, root neither, makes folders under /proc.
  const auto refused = prepare_layout("/proc/citadel/data", self());
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("/proc/citadel"));
}

TEST(LocalPasswords, AreMadeOnceAndThenRead) {
  const Folder folder;
  const auto layout = prepare_layout(folder / "data", self()).value();
  const auto made = load_passwords(layout, true);
  ASSERT_TRUE(made);
  EXPECT_EQ(made->owner.reveal().size(), 48u);
  EXPECT_NE(made->owner.reveal(), made->app.reveal());
  EXPECT_EQ(load_passwords(layout, false)->owner.reveal(), made->owner.reveal());
  std::filesystem::remove(password_path(layout, owner_role));
  const auto lost = load_passwords(layout, false);
  ASSERT_FALSE(lost);
  EXPECT_THAT(lost.error().message, HasSubstr("citadel_owner"));
}

}  // namespace
}  // namespace citadel::local

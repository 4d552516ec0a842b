// Initialise: what the first start makes: passwords, PGDATA, roles and the database. A start that is killed
// in the middle leaves nothing that the next one trusts: PGDATA is made beside its place and moved there when
// it is whole.
#pragma once
#include "base/secret.hpp"
#include "local/config.hpp"
#include "local/layout.hpp"
#include "local/local.hpp"
#include "local/programs.hpp"

namespace citadel::local {

struct Passwords {
  Secret superuser, owner, app;
};

std::filesystem::path password_path(const Layout& layout, std::string_view role);

// Reads them from secrets/, and makes those that are missing where `make` is set. Without, a missing one is
// an error: the database has a password that nobody knows any more.
Result<Passwords> load_passwords(const Layout& layout, bool make);

Result<void> initialise(const Layout& layout, const Account& account, const Programs& programs,
                        const Passwords& passwords, Durability durability, Deadline deadline,
                        const Progress& progress, const std::stop_token& stop);

// Writes the configuration files anew.
Result<void> write_configuration(const Layout& layout, const Account& account, const ConfigInput& input,
                                 const Passwords& passwords);

}  // namespace citadel::local

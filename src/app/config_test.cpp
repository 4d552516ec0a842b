#include "app/config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <fstream>
#include <sstream>

#include "app/config_docs.hpp"
#include "app/config_keys.hpp"
#include "app/config_problems.hpp"
#include "app/config_rules.hpp"
#include "app/config_value.hpp"
#include "app/retention_times.hpp"
#include "app/settings.hpp"
#include "base/file.hpp"

namespace citadel::app {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

struct Folder {
  Folder() {
    char name[] = "/tmp/citadel-config-XXXXXX";
    EXPECT_NE(::mkdtemp(name), nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::filesystem::path write(std::string_view name, std::string_view content, mode_t mode = 0600) const {
    EXPECT_TRUE(write_file_durably(path / name, content, mode));
    return path / name;
  }
  std::filesystem::path path;
};

Result<Config> parse(std::string_view text, std::vector<std::string> environment = {}) {
  return parse_config(text, "citadel.toml", {{}, std::move(environment), false});
}

std::vector<std::string> faults(const Result<Config>& config) {
  if (config) return {};
  EXPECT_EQ(config.error().code, Code::invalid_argument);
  std::vector<std::string> lines;
  std::istringstream in(config.error().message);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::string setting(const Key& key, std::string_view value) {
  return fmt::format("[{}]\n# a comment\n{} = {}\n", key.section, key.name, value);
}

// A value that is good, and not the default.
std::string other_text(const Key& key) {
  const auto text = value_text(key, Config());
  if (const auto* v = std::get_if<IntegerValue>(&key.value)) {
    // Two more: one more than the default port of Pgpool-II is that of PostgreSQL, and they must differ.
    return std::to_string(*parse_integer(text) + 2 > v->max ? v->max - 1 : *parse_integer(text) + 2);
  }
  if (const auto* v = std::get_if<SizeValue>(&key.value)) {
    return format_size(*parse_size(text) == v->max ? v->max - 1 : *parse_size(text) + 1);
  }
  if (const auto* v = std::get_if<DurationValue>(&key.value)) {
    // Above the floor of the first profile, and in order with the other classes whether they are given or
    // not.
    if (key.section == "audit.retention" && text == "0s") return "366d";
    return format_duration(*parse_duration(text) == v->max ? v->max - 1ms : *parse_duration(text) + 1ms);
  }
  if (std::holds_alternative<BooleanValue>(key.value)) return text == "true" ? "false" : "true";
  if (const auto* v = std::get_if<ChoiceValue>(&key.value)) {
    return std::string(v->names[text == v->names[0] ? 1 : 0]);
  }
  if (std::holds_alternative<EndpointValue>(key.value)) return "[::1]:81";
  // Two keys must not have the same folder.
  return "/other/" + std::string(key.section) + "/value";
}

std::string as_toml(const Key& key, const std::string& text) {
  const bool bare =
      std::holds_alternative<IntegerValue>(key.value) || std::holds_alternative<BooleanValue>(key.value);
  return bare ? text : quote_toml(text);
}

// What a key needs beside it, so that no rule between keys refuses a good value.
std::string companions(const Key& key) {
  if (key.section == "database.direct" && key.name != "host") return "host = \"db\"\n";
  return "";
}

TEST(ConfigTable, IsSortedBySectionAndHasNoKeyTwice) {
  std::set<std::string> names, variables;
  std::vector<std::string_view> order;
  for (const auto& key : config_keys()) {
    EXPECT_TRUE(names.insert(key.full_name()).second) << key.full_name();
    EXPECT_TRUE(variables.insert(key.environment_name()).second) << key.environment_name();
    if (order.empty() || order.back() != key.section) order.push_back(key.section);
    EXPECT_TRUE(key.doc.ends_with('.')) << key.full_name();
  }
  std::vector<std::string_view> sections;
  for (const auto& section : config_sections()) sections.push_back(section.name);
  EXPECT_EQ(order, sections);
}

// A default out of its own limits, or one that breaks a rule, would refuse every start.
TEST(ConfigTable, DefaultsAreGood) {
  const auto config = parse("");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_THAT(config->origins, IsEmpty());
  for (const auto& key : config_keys()) {
    Config copy;
    EXPECT_TRUE(set_from_text(key, copy, value_text(key, Config()))) << key.full_name();
  }
}

TEST(ConfigTable, EveryKeyIsReadFromTheFile) {
  for (const auto& key : config_keys()) {
    const auto value = other_text(key);
    const auto config = parse(setting(key, as_toml(key, value)) + companions(key));
    ASSERT_TRUE(config) << key.full_name() << ": " << config.error().message;
    EXPECT_EQ(value_text(key, *config), value) << key.full_name();
    EXPECT_NE(value_text(key, *config), value_text(key, Config())) << key.full_name();
    EXPECT_THAT(origin_of(*config, key.full_name()), StartsWith("citadel.toml:3:")) << key.full_name();
  }
}

TEST(ConfigTable, EveryKeyIsReadFromTheEnvironmentWhichWins) {
  for (const auto& key : config_keys()) {
    const auto value = other_text(key);
    std::vector<std::string> environment{fmt::format("{}={}", key.environment_name(), value), "PATH=/bin"};
    const auto in_file = setting(key, value_toml(key, Config())) + companions(key);
    const auto config = parse(in_file, environment);
    ASSERT_TRUE(config) << key.full_name() << ": " << config.error().message;
    EXPECT_EQ(value_text(key, *config), value) << key.full_name();
    EXPECT_EQ(origin_of(*config, key.full_name()), "environment " + key.environment_name());
  }
}

// For each key: every TOML type that is not its own.
TEST(ConfigTable, EveryKeyRefusesOtherTypesNamingKeyAndLine) {
  for (const auto& key : config_keys()) {
    std::vector<std::string> wrong{"1.5", "[1]", "{a = 1}", "2026-01-01"};
    if (!std::holds_alternative<IntegerValue>(key.value) && !std::holds_alternative<SizeValue>(key.value)) {
      wrong.push_back("5");
    }
    if (!std::holds_alternative<BooleanValue>(key.value)) wrong.push_back("true");
    if (std::holds_alternative<IntegerValue>(key.value) || std::holds_alternative<BooleanValue>(key.value)) {
      wrong.push_back(quote_toml(value_text(key, Config())));  // right, but for the quotes
    }
    const bool takes_text = std::holds_alternative<TextValue>(key.value) ||
                            std::holds_alternative<PathValue>(key.value) ||
                            std::holds_alternative<SecretFileValue>(key.value);
    wrong.push_back(takes_text ? "\"a\\u0007b\"" : "\"no such value\"");
    for (const auto& value : wrong) {
      const auto lines = faults(parse(setting(key, value) + companions(key)));
      EXPECT_THAT(lines,
                  ElementsAre(AllOf(StartsWith("citadel.toml:3:"), HasSubstr(key.full_name() + " = "))))
          << key.full_name() << " = " << value;
    }
  }
}

TEST(ConfigTable, EveryLimitHoldsOnBothSides) {
  int limited = 0;
  const auto check = [&](const Key& key, std::string_view good, std::string_view bad) {
    Config config;
    EXPECT_TRUE(set_from_text(key, config, good)) << key.full_name() << " = " << good;
    const auto lines = faults(parse(setting(key, as_toml(key, std::string(bad))) + companions(key)));
    EXPECT_THAT(lines, ElementsAre(AllOf(StartsWith("citadel.toml:3:"), HasSubstr(key.full_name()),
                                         HasSubstr(std::string(bad)), HasSubstr(limit_text(key)))))
        << key.full_name() << " = " << bad;
    ++limited;
  };
  for (const auto& key : config_keys()) {
    if (const auto* v = std::get_if<IntegerValue>(&key.value)) {
      check(key, std::to_string(v->min), std::to_string(v->min - 1));
      check(key, std::to_string(v->max), std::to_string(v->max + 1));
    } else if (const auto* s = std::get_if<SizeValue>(&key.value)) {
      if (s->min > 0) check(key, format_size(s->min), format_size(s->min - 1));
      check(key, format_size(s->max), format_size(s->max + 1));
    } else if (const auto* d = std::get_if<DurationValue>(&key.value)) {
      if (d->min > Duration::zero())
        check(key, format_duration(d->min), format_duration(d->min - Duration(1)));
      check(key, format_duration(d->max), format_duration(d->max + Duration(1)));
    }
  }
  EXPECT_GT(limited, 60);
}

TEST(ConfigTable, AMisspeltNeighbourOfEveryKeyIsRefusedAndTheKeySuggested) {
  for (const auto& key : config_keys()) {
    const auto name = std::string(key.name) + "x";
    const auto lines = faults(parse(fmt::format("[{}]\n\n{} = 1\n", key.section, name)));
    EXPECT_THAT(lines, ElementsAre(AllOf(StartsWith("citadel.toml:3:1: "), HasSubstr(key.full_name() + "x"),
                                         HasSubstr("did you mean " + key.full_name() + "?"))))
        << key.full_name();
    const auto in_environment = faults(parse("", {key.environment_name() + "X=1"}));
    EXPECT_THAT(in_environment,
                ElementsAre(AllOf(StartsWith("environment " + key.environment_name() + "X: "),
                                  HasSubstr("did you mean " + key.environment_name() + "?"))));
  }
}

TEST(ConfigTable, EveryKeyRefusesABadEnvironmentValue) {
  for (const auto& key : config_keys()) {
    const auto lines = faults(parse("", {key.environment_name() + "=\a"}));
    EXPECT_THAT(lines, ElementsAre(AllOf(StartsWith("environment " + key.environment_name() + ": "),
                                         HasSubstr(key.full_name()))));
  }
}

TEST(Config, ListsAllFaultsAtOnce) {
  const auto lines = faults(parse("[pool]\nsize_max = 5000\nsise_min = 3\n[log]\nlevel = \"warn\"\n[pol]\n",
                                  {"CITADEL_LOG_FORMAT=xml"}));
  EXPECT_THAT(
      lines, testing::ElementsAre(
                 "citadel.toml:2:12: pool.size_max = 5000: is out of range; good: 1 to 1000",
                 "citadel.toml:3:1: pool.sise_min: is not a key; did you mean pool.size_min?",
                 "citadel.toml:5:9: log.level = \"warn\": is not one of debug, info, warning, error; did you "
                 "mean warning?",
                 "citadel.toml:6:2: pol: is not a section; did you mean pool?",
                 "environment CITADEL_LOG_FORMAT: log.format = \"xml\": is not one of text, json"));
}

TEST(Config, ASyntaxFaultHasItsPlace) {
  EXPECT_THAT(faults(parse("[pool]\nsize_max = \n")), ElementsAre(StartsWith("citadel.toml:2:")));
  EXPECT_THAT(faults(parse("[pool]\nsize_max = 1\nsize_max = 2\n")),
              ElementsAre(StartsWith("citadel.toml:3:")));
  EXPECT_THAT(faults(parse("[pool]\n[pool]\n")), ElementsAre(StartsWith("citadel.toml:2:")));
}

// An assertion of the TOML library must not end the daemon.
TEST(Config, AFileThatIsNoTomlAtAllIsAFault) {
  for (const auto* text : {"[$a]\n", "[", "[[", "[a", "a", "a =", "a = \"", "=", "]", "\xff",
                           "[\xef\xbb\x9fs}", "a = [1", "a.\n", "\"a\"."}) {
    EXPECT_THAT(faults(parse(text)), ElementsAre(StartsWith("citadel.toml:1:"))) << text;
  }
}

TEST(Config, AKeyOutsideItsSectionIsExplained) {
  EXPECT_THAT(
      faults(parse("size_max = 5\n")),
      ElementsAre("citadel.toml:1:1: size_max: stands outside a section; did you mean pool.size_max?"));
  EXPECT_THAT(faults(parse("http = 5\n")),
              ElementsAre("citadel.toml:1:8: http: is a section; write it as [http]"));
}

TEST(Config, AFileWithAQuotedKeyCannotForgeALine) {
  EXPECT_THAT(faults(parse("[pool]\n\"a\\nb\" = 1\n")), ElementsAre(HasSubstr("pool.a\\nb")));
}

TEST(Config, APasswordInTheFileOrTheEnvironmentIsRefusedAndNotRepeated) {
  const auto in_file = parse("[database]\npassword = \"hunter2\"\n");
  EXPECT_THAT(faults(in_file), ElementsAre(AllOf(StartsWith("citadel.toml:2:1: database.password: "),
                                                 HasSubstr("password_file"), Not(HasSubstr("hunter2")))));
  const auto in_environment = parse("", {"CITADEL_DATABASE_PASSWORD=hunter2"});
  EXPECT_THAT(faults(in_environment),
              ElementsAre(AllOf(HasSubstr("CITADEL_DATABASE_PASSWORD_FILE"), Not(HasSubstr("hunter2")))));
}

TEST(Config, NoFaultShowsASecretOrAnUnknownKeysValue) {
  for (const auto* text :
       {"[database]\npassword_file = [\"hunter2\"]\n", "[database]\npasswort = \"hunter2\"\n",
        "[database]\npassword_file = \"hunter2\\u0001\"\n"}) {
    EXPECT_THAT(faults(parse(text)), ElementsAre(Not(HasSubstr("hunter2")))) << text;
  }
  // The password itself where its file belongs.
  const auto config = parse_config("[database]\npassword_file = \"hunter2\"\n", "/tmp/citadel.toml", {});
  EXPECT_THAT(faults(config),
              ElementsAre(AllOf(HasSubstr("database.password_file"), Not(HasSubstr("hunter2")))));
}

TEST(Config, SecretsAreReadFromTheirFilesAndNeverRendered) {
  const Folder folder;
  folder.write("password", "hunter2\nsecond line\n");
  const auto file = folder.write("citadel.toml", "[database]\npassword_file = \"password\"\n");
  const auto config = load_config({file, {}});
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->database.password_file.value.reveal(), "hunter2");
  EXPECT_EQ(config->database.password_file.path, folder.path / "password");
  EXPECT_THAT(render_config(*config), AllOf(Not(HasSubstr("hunter2")), HasSubstr("password_file")));
}

TEST(Config, ASecretFileThatCannotBeReadOrIsOpenToAllIsRefused) {
  const Folder folder;
  const auto file = folder.write("citadel.toml", "[owner]\npassword_file = \"password\"\n");
  EXPECT_THAT(
      faults(load_config({file, {}})),
      ElementsAre(AllOf(HasSubstr("citadel.toml:2:17: owner.password_file"), HasSubstr("cannot be read"))));
  folder.write("password", "hunter2\n", 0644);
  EXPECT_THAT(faults(load_config({file, {}})), ElementsAre(HasSubstr("chmod 0600")));
  folder.write("password", "", 0600);
  EXPECT_THAT(faults(load_config({file, {}})), ElementsAre(HasSubstr("is empty")));
  EXPECT_TRUE(load_config({file, {}, false}));
}

TEST(Config, AFileThatCannotBeReadSaysSo) {
  const Folder folder;
  const auto missing = load_config({folder.path / "no.toml", {}});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::not_found);
  EXPECT_THAT(missing.error().message, HasSubstr("no.toml"));
  const auto huge = folder.write("huge.toml", std::string((1 << 20) + 1, '#'));
  EXPECT_THAT(load_config({huge, {}}).error().message, HasSubstr("larger than"));
}

TEST(Config, RelativePathsCountFromTheFileAndInTheEnvironmentFromTheWorkingDirectory) {
  const ConfigSources sources{{}, {"CITADEL_JOURNAL_FOLDER=here"}, false};
  const auto config =
      parse_config("[local]\ndata = \"data\"\n[admin]\nkey_file = \"../key\"\n", "/etc/c/f.toml", sources);
  ASSERT_TRUE(config);
  EXPECT_EQ(config->local.data, "/etc/c/data");
  EXPECT_EQ(config->admin.key_file, "/etc/key");
  EXPECT_EQ(config->journal.folder, "here");
}

TEST(Config, EmptyPathsAreFilledFromTheDataFolder) {
  const auto config = parse("[local]\ndata = \"/data\"\n");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->journal.folder, "/data/journal");
  EXPECT_EQ(config->admin.key_file, "/data/admin.key");
  EXPECT_EQ(config->access.pepper_file, "/data/access.pepper");
  EXPECT_EQ(parse("[admin]\nkey_file = \"/etc/citadel/admin.key\"\n")->access.pepper_file,
            "/etc/citadel/access.pepper");
}

TEST(Config, VariablesOfOtherUseAndForeignOnesAreLeftAlone) {
  EXPECT_TRUE(parse(
      "", {"CITADEL_URL=http://x", "CITADEL_KEY_FILE=/k", "CITADEL_CRASH_POINT=a", "CITADEL_CRASH_POINT_N=3",
           "CITADEL_SIM_SEED=1", "CITADEL_TEST_ANYTHING=1", "CITADELS=1", "HOME=/root", "NOVALUE"}));
  EXPECT_THAT(faults(parse("", {"CITADEL_LOG_LEVEL=info", "CITADEL_LOG_LEVEL=debug"})),
              ElementsAre(HasSubstr("twice")));
  EXPECT_THAT(faults(parse("", {"CITADEL_LOG_LEVEL"})), ElementsAre(HasSubstr("log.level")));
}

// One text for each rule, in the order of the rules, that breaks it alone.
TEST(ConfigRules, EachIsBrokenAloneAndNamesItsKey) {
  const std::vector<std::string> breaking{
      "[pool]\nsize_max = 3\n",
      "[database]\ntls = \"verify_full\"\n",
      "[database.direct]\nhost = \"db\"\ntls = \"verify_ca\"\n",
      "[database.direct]\nport = 5432\n",
      "[breaker]\nwindow = \"count\"\nwindow_calls = 5\n",
      "[breaker]\nopen_initial = \"31s\"\n",
      "[retry]\ndelay_ceiling = \"9ms\"\n",
      "[journal]\nsize_bytes_max = \"127MiB\"\n",
      "[journal]\nreserve_bytes = \"513MiB\"\n",
      "[journal]\ngather_bytes = \"33MiB\"\n",
      "[journal]\npayload_bytes_max = \"1MiB\"\nsegment_bytes = \"1MiB\"\n",
      "[drain]\nbatch_bytes = \"64KiB\"\n[journal]\npayload_bytes_max = \"65KiB\"\n",
      "[audit]\nsize_bytes_max = \"127MiB\"\n",
      "[audit]\nreserve_bytes = \"513MiB\"\n",
      "[audit]\njournal_folder = \"/j\"\n[journal]\nfolder = \"/j\"\n",
      "[audit.retention]\nshort = \"23h\"\n",
      "[audit.retention]\nprofile = \"eu_ai_act\"\nshort = \"183d\"\n",
      "[audit.retention]\nprofile = \"pci_dss\"\nshort = \"365d\"\n",
      "[audit.retention]\nprofile = \"hipaa\"\nshort = \"2191d\"\n",
      "[audit.retention]\nstandard = \"23h\"\n",
      "[audit.retention]\nprofile = \"eu_ai_act\"\nstandard = \"183d\"\n",
      "[audit.retention]\nprofile = \"pci_dss\"\nstandard = \"365d\"\n",
      "[audit.retention]\nprofile = \"hipaa\"\nstandard = \"2191d\"\n",
      "[audit.retention]\nextended = \"23h\"\n",
      "[audit.retention]\nprofile = \"eu_ai_act\"\nextended = \"183d\"\n",
      "[audit.retention]\nprofile = \"pci_dss\"\nextended = \"365d\"\n",
      "[audit.retention]\nprofile = \"hipaa\"\nextended = \"2191d\"\n",
      "[audit.retention]\nshort = \"367d\"\n",
      "[audit.retention]\nstandard = \"2193d\"\n",
      "[http]\nrequest_timeout = \"9s\"\n",
      "[local]\npostgres_port = 5433\n",
  };
  ASSERT_EQ(breaking.size(), config_rules().size());
  for (std::size_t i = 0; i < breaking.size(); ++i) {
    const auto& rule = config_rules()[i];
    EXPECT_THAT(faults(parse(breaking[i])),
                ElementsAre(AllOf(StartsWith("citadel.toml:"), HasSubstr(fmt::format(": {} = ", rule.key)),
                                  HasSubstr(std::string(rule.text)))))
        << breaking[i];
  }
}

TEST(ConfigRetention, WhatIsNotSaidIsTheClassesTimeOrTheFloor) {
  const auto days = [](std::string_view text) {
    std::vector<std::int64_t> out;
    for (const auto keep : effective_keep(parse(text)->audit_retention))
      out.push_back(keep / std::chrono::days(1));
    return out;
  };
  EXPECT_THAT(days(""), ElementsAre(184, 366, 2192));
  EXPECT_THAT(days("[audit.retention]\nprofile = \"eu_ai_act\"\n"), ElementsAre(184, 366, 2192));
  EXPECT_THAT(days("[audit.retention]\nprofile = \"pci_dss\"\n"), ElementsAre(366, 366, 2192));
  EXPECT_THAT(days("[audit.retention]\nprofile = \"hipaa\"\n"), ElementsAre(2192, 2192, 2192));
  EXPECT_THAT(days("[audit.retention]\nshort = \"30d\"\nextended = \"3000d\"\n"), ElementsAre(30, 366, 3000));
}

TEST(ConfigRules, TheirKeysExist) {
  for (const auto& rule : config_rules()) {
    for (const auto name : {rule.key, rule.other}) {
      EXPECT_NE(find_key(name.substr(0, name.rfind('.')), name.substr(name.rfind('.') + 1)), nullptr) << name;
    }
  }
}

TEST(ConfigRender, IsReadAgainToTheSameValues) {
  std::string text;
  for (const auto& section : config_sections()) {
    text += fmt::format("[{}]\n", section.name);
    for (const auto& key : config_keys()) {
      if (key.section == section.name)
        text += fmt::format("{} = {}\n", key.name, as_toml(key, other_text(key)));
    }
  }
  const auto config = parse(text);
  ASSERT_TRUE(config) << config.error().message;
  const auto again = parse(render_config(*config));
  ASSERT_TRUE(again) << again.error().message;
  for (const auto& key : config_keys()) EXPECT_TRUE(same_value(key, *config, *again)) << key.full_name();
  EXPECT_TRUE(parse(render_config(*parse(""))));
}

TEST(ConfigReload, TakesReloadableKeysAndNamesTheOthers) {
  const Folder folder;
  const auto file = folder.write("citadel.toml", "[log]\nlevel = \"info\"\n[pool]\nsize_max = 50\n");
  const auto before = load_config({file, {}});
  ASSERT_TRUE(before);
  folder.write("citadel.toml",
               "[log]\nlevel = \"debug\"\n[pool]\nsize_max = 60\n[usage]\nfuture_max = \"1h\"\n");
  const auto reloaded = reload_config(*before, {file, {}});
  ASSERT_TRUE(reloaded) << reloaded.error().message;
  EXPECT_EQ(reloaded->config.log.level, log::Level::debug);
  EXPECT_EQ(reloaded->config.usage.future_max, Duration(1h));
  EXPECT_EQ(reloaded->config.pool.size_max, 50);
  EXPECT_THAT(reloaded->changed, ElementsAre("usage.future_max", "log.level"));
  EXPECT_THAT(reloaded->not_taken, ElementsAre("pool.size_max"));
}

TEST(ConfigReload, SeesARotatedPassword) {
  const Folder folder;
  const auto file = folder.write("citadel.toml", "[database]\npassword_file = \"password\"\n");
  folder.write("password", "old\n");
  const auto before = load_config({file, {}});
  ASSERT_TRUE(before);
  folder.write("password", "new\n");
  const auto reloaded = reload_config(*before, {file, {}});
  ASSERT_TRUE(reloaded);
  EXPECT_THAT(reloaded->changed, ElementsAre("database.password_file"));
  EXPECT_EQ(reloaded->config.database.password_file.value.reveal(), "new");
}

TEST(ConfigReload, OfABadFileFailsWithAllItsFaults) {
  const Folder folder;
  const auto file = folder.write("citadel.toml", "[log]\nlevel = \"loud\"\nformat = \"xml\"\n");
  const auto reloaded = reload_config(Config(), {file, {}});
  ASSERT_FALSE(reloaded);
  EXPECT_EQ(std::ranges::count(reloaded.error().message, '\n'), 1);
}

TEST(Settings, ConnectionsLeaveDescriptorsToSessionsAndJournal) {
  Config config;
  config.http.connections_max = 4096;
  config.pool.size_max = 100;
  EXPECT_EQ(connections_that_fit(config, descriptors_wanted(config)), 4096u);
  EXPECT_EQ(connections_that_fit(config, descriptors_wanted(config) - 1), 4095u);
  EXPECT_EQ(connections_that_fit(config, 1024), 1024u - (descriptors_wanted(config) - 4096u));
  EXPECT_EQ(connections_that_fit(config, 10), 1u);
}

TEST(ConfigDocs, TheFileIsWhatTheTableSays) {
  std::ifstream in(CITADEL_SOURCE_FOLDER "/docs/configuration.md");
  std::stringstream content;
  content << in.rdbuf();
  EXPECT_EQ(content.str(), render_config_docs()) << "run: citadel config docs > docs/configuration.md";
  for (const auto& key : config_keys()) {
    EXPECT_THAT(content.str(), HasSubstr(fmt::format("| `{}` |", key.name)));
  }
}

}  // namespace
}  // namespace citadel::app

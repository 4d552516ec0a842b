// The program itself is run, with an environment of the test's own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/file.hpp"
#include "cli/api_client.hpp"
#include "cli/context.hpp"
#include "cli/json_text.hpp"
#include "cli/table.hpp"
#include "tlog/note.hpp"

namespace citadel::cli {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

struct Ended {
  int code = -1;
  std::string out, err;
};

class Program : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/citadel-cli-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string write(std::string_view name, std::string_view content) const {
    EXPECT_TRUE(write_file_durably(folder_ / name, content, 0600));
    return (folder_ / name).string();
  }

  // `out_file` empty: standard output is kept.
  Ended run(std::vector<std::string> arguments, std::vector<std::string> environment = {},
            std::string out_file = {}) const {
    arguments.insert(arguments.begin(), "citadel");
    const auto out = out_file.empty() ? (folder_ / "out").string() : out_file,
               err = (folder_ / "err").string();
    const auto pid = ::fork();
    if (pid == 0) {
      if (!::freopen(out.c_str(), "w", stdout) || !::freopen(err.c_str(), "w", stderr)) ::_exit(99);
      const auto pointers = [](std::vector<std::string>& texts) {
        std::vector<char*> list;
        for (auto& text : texts) list.push_back(text.data());
        list.push_back(nullptr);
        return list;
      };
      ::execve(CITADEL_BINARY, pointers(arguments).data(), pointers(environment).data());
      ::_exit(99);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    Ended result{WIFEXITED(status) ? WEXITSTATUS(status) : -1, {}, read(err)};
    if (out_file.empty()) result.out = read(out);
    return result;
  }

  std::filesystem::path folder_;

 private:
  static std::string read(const std::string& file) { return read_file(file, 1 << 20).value_or("unreadable"); }
};

TEST_F(Program, VersionNamesVersionCompilerAndLibraries) {
  const auto plain = run({"version"});
  EXPECT_EQ(plain.code, exit_good);
  EXPECT_THAT(plain.out, AllOf(StartsWith("citadel 0."), HasSubstr("with Clang "), HasSubstr("OpenSSL 3."),
                               HasSubstr("libpq 1"), HasSubstr("fmt "), HasSubstr("spdlog 1."),
                               HasSubstr("toml++ 3."), HasSubstr("CLI11 2."), Not(HasSubstr(" \n"))));
  EXPECT_THAT(run({"version", "--json"}).out,
              AllOf(StartsWith("{\"version\":\"0."), HasSubstr("\"compiler\":\"Clang ")));
  EXPECT_EQ(run({"--json", "version"}).out, run({"version", "--json"}).out);
}

TEST_F(Program, WrongUseIsExitCodeTwoAndSaidOnStandardError) {
  for (const auto& arguments : std::vector<std::vector<std::string>>{{},
                                                                     {"nonsense"},
                                                                     {"version", "--nonsense"},
                                                                     {"config"},
                                                                     {"config", "nonsense"},
                                                                     {"config", "check", "--config"}}) {
    const auto result = run(arguments);
    EXPECT_EQ(result.code, exit_wrong_use) << testing::PrintToString(arguments);
    EXPECT_THAT(result.out, IsEmpty()) << testing::PrintToString(arguments);
    EXPECT_THAT(result.err, Not(IsEmpty())) << testing::PrintToString(arguments);
  }
}

TEST_F(Program, ACommandThatIsNotThereIsNamedWithTheNearest) {
  const std::tuple<std::vector<std::string>, std::string> cases[] = {
      {{"adit"}, "citadel has no command 'adit'; did you mean 'audit'?"},
      {{"audit", "hodl"}, "citadel audit has no command 'hodl'; did you mean 'hold'?"},
      {{"audit", "hold", "realease", "7", "--reason", "r"},
       "citadel audit hold has no command 'realease'; did you mean 'release'?"},
      {{"--json", "audit", "serch", "--actor", "ada"},
       "citadel audit has no command 'serch'; did you mean 'search'?"},
      {{"config", "nonsense"}, "citadel config has no command 'nonsense'"}};
  for (const auto& [arguments, said] : cases) {
    const auto result = run(arguments);
    EXPECT_EQ(result.code, exit_wrong_use) << said;
    EXPECT_THAT(result.out, IsEmpty());
    if (arguments[0] == "--json") {
      EXPECT_EQ(result.err,
                fmt::format("{{\"code\":\"invalid_argument\",\"message\":\"{}\",\"exit_code\":2}}\n", said));
    } else {
      EXPECT_EQ(result.err, said + "\nRun with --help for more information.\n");
    }
  }
  // What is no command's place is told as before.
  EXPECT_THAT(run({"version", "adit"}).err, AllOf(HasSubstr("not expected"), HasSubstr("adit")));
  EXPECT_THAT(run({"audit", "--colour", "hodl"}).err, Not(HasSubstr("did you mean")));
}

TEST_F(Program, WithJsonAnErrorIsJson) {
  const auto key = write("key", std::string(40, 'k'));
  const auto away = run({"usage", "--json", "--key-file", key, "--url", "http://127.0.0.1:1"});
  EXPECT_EQ(away.code, exit_unreachable);
  EXPECT_THAT(away.out, IsEmpty());
  EXPECT_THAT(away.err,
              AllOf(StartsWith("{\"code\":\"unavailable\",\"message\":\""), EndsWith("\"exit_code\":3}\n")));
  const auto wrong = run({"usage", "--nonsense", "--json"});
  EXPECT_EQ(wrong.code, exit_wrong_use);
  EXPECT_THAT(wrong.err, AllOf(StartsWith("{\"code\":\"invalid_argument\",\"message\":\""),
                               HasSubstr("--nonsense"), EndsWith("\"exit_code\":2}\n")));
  // Found before the flags are taken.
  EXPECT_THAT(run({"usage", "--json", "--bucket"}).err,
              AllOf(StartsWith("{\"code\":\"invalid_argument\""), HasSubstr("--bucket")));
  EXPECT_THAT(run({"version", "--json"}, {}, "/dev/full").err,
              AllOf(StartsWith("{\"code\":\"io_error\""), HasSubstr("standard output")));
}

TEST_F(Program, PoolIsPausedAndResumedAndNothingElse) {
  const auto key = write("key", std::string(40, 'k'));
  EXPECT_EQ(run({"pool"}).code, exit_wrong_use);
  EXPECT_EQ(run({"pool", "flush"}).code, exit_wrong_use);
  for (const auto* what : {"pause", "resume"}) {
    EXPECT_EQ(run({"pool", what, "--key-file", key, "--url", "http://127.0.0.1:1"}).code, exit_unreachable);
  }
}

TEST_F(Program, HelpIsGood) {
  const auto help = run({"--help"});
  EXPECT_EQ(help.code, exit_good);
  EXPECT_THAT(help.out,
              AllOf(HasSubstr("config"), HasSubstr("version"), HasSubstr("--url"), HasSubstr("--key-file")));
  EXPECT_EQ(run({"config", "check", "--help"}).code, exit_good);
}

TEST_F(Program, ConfigCheckPrintsOkAndTheEffectiveValues) {
  const auto file = write("citadel.toml", "[pool]\nsize_max = 42\n");
  const auto good = run({"config", "check", "--config", file}, {"CITADEL_LOG_LEVEL=debug"});
  EXPECT_EQ(good.code, exit_good) << good.err;
  EXPECT_THAT(good.out, StartsWith("# OK"));
  EXPECT_THAT(good.out, testing::ContainsRegex("size_max += 42 +# .*citadel.toml:2:12"));
  EXPECT_THAT(good.out, testing::ContainsRegex("level += \"debug\" +# environment CITADEL_LOG_LEVEL"));
  EXPECT_EQ(run({"config", "check", "--config", file, "--json"}).out, "{\"good\":true,\"faults\":[]}\n");
  EXPECT_EQ(run({"config", "check"}).code, exit_good);
}

TEST_F(Program, ConfigCheckFailsWithEveryFault) {
  const auto file = write("citadel.toml", "[pool]\nsize_max = 5000\nsise_min = 1\n");
  const auto bad = run({"config", "check", "--config", file});
  EXPECT_EQ(bad.code, exit_check_failed);
  EXPECT_THAT(bad.out, IsEmpty());
  EXPECT_THAT(bad.err, AllOf(HasSubstr(file + ":2:12: pool.size_max = 5000"),
                             HasSubstr(file + ":3:1: pool.sise_min")));
  const auto json = run({"config", "check", "--config", file, "--json"});
  EXPECT_EQ(json.code, exit_check_failed);
  EXPECT_THAT(json.out, AllOf(StartsWith("{\"good\":false,\"faults\":[\""), HasSubstr("\",\"")));
  EXPECT_EQ(run({"config", "show", "--config", file}).code, exit_check_failed);
  EXPECT_EQ(run({"config", "check"}, {"CITADEL_POOL_SIZE_MAX=0"}).code, exit_check_failed);
}

TEST_F(Program, ConfigCheckReadsTheWitnessPolicy) {
  const auto policy = (folder_ / "policy").string();
  const auto file = write("citadel.toml", "[audit]\nwitness_policy_file = \"policy\"\n");
  const auto missing = run({"config", "check", "--config", file});
  EXPECT_EQ(missing.code, exit_check_failed);
  EXPECT_THAT(missing.out, IsEmpty());
  EXPECT_THAT(missing.err, AllOf(StartsWith(file + ":2:23: audit.witness_policy_file: " + policy),
                                 HasSubstr("cannot be read"), HasSubstr("docs/audit.md")));
  write("policy", "# ours\nquorum none\nwittness w1\n");
  const auto bad = run({"config", "check", "--config", file});
  EXPECT_EQ(bad.code, exit_check_failed);
  EXPECT_THAT(bad.err, AllOf(HasSubstr(policy + ": line 3: 'wittness' is not one of"),
                             HasSubstr("without this key no witness is asked")));
  const auto json = run({"config", "check", "--config", file, "--json"});
  EXPECT_EQ(json.code, exit_check_failed);
  EXPECT_THAT(json.out, AllOf(StartsWith("{\"good\":false,\"faults\":[\""), HasSubstr("line 3")));
  // Without an audit trail nobody reads it.
  EXPECT_EQ(run({"config", "check", "--config", file}, {"CITADEL_AUDIT_ENABLED=false"}).code, exit_good);
  const auto witness = tlog::NoteSigner::generate("witness.example/w1", tlog::KeyType::cosignature_v1);
  const auto line = "witness w1 " + witness->verifier().encode();
  write("policy", line + "\nquorum w1\n");
  EXPECT_THAT(run({"config", "check", "--config", file}).err,
              HasSubstr("witness w1 has no URL to ask; add it"));
  write("policy", line + " http://127.0.0.1:8490\nquorum w1\n");
  EXPECT_EQ(run({"config", "check", "--config", file}).code, exit_good);
}

TEST_F(Program, AFileThatIsNamedAndMissingIsWrongUse) {
  const auto missing = (folder_ / "no.file").string();
  for (const auto& arguments :
       std::vector<std::vector<std::string>>{{"config", "check", "--config", missing},
                                             {"config", "show", "--config", missing},
                                             {"serve", "--config", missing},
                                             {"up", "--config", missing},
                                             {"migrate", "--config", missing},
                                             {"doctor", "--config", missing},
                                             {"import", missing, "--model", "m"},
                                             {"import", folder_.string(), "--model", "m"}}) {
    const auto result = run(arguments);
    EXPECT_EQ(result.code, exit_wrong_use) << testing::PrintToString(arguments) << result.err;
    EXPECT_THAT(result.err, HasSubstr(arguments[0] == "import" ? arguments[1] : missing));
    EXPECT_THAT(result.out, IsEmpty());
  }
}

// A verifier key of a log that these tests have nothing of.
constexpr auto verifier_key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

TEST_F(Program, AnAuditFileThatIsNamedAndMissingIsWrongUse) {
  const auto missing = (folder_ / "no.file").string();
  for (const auto& arguments : std::vector<std::vector<std::string>>{
           {"audit", "verify", "--export", missing, "--key", verifier_key},
           {"audit", "verify", "--export", "any", "--key", verifier_key, "--older", missing},
           {"audit", "check-certificate", missing, "--key", verifier_key},
           {"audit", "check-proof", missing, "--key", verifier_key},
           {"audit", "append", "--file", missing},
           {"audit", "key", "--key-file", missing}}) {
    const auto result = run(arguments);
    EXPECT_EQ(result.code, exit_wrong_use) << testing::PrintToString(arguments) << result.err;
    EXPECT_THAT(result.err, HasSubstr(missing));
    EXPECT_THAT(result.out, IsEmpty());
  }
}

TEST_F(Program, AFileThatIsNoExportOrNoCheckpointIsNoFaultOfTheLog) {
  const auto csv = write("audit.csv", "index,id,time\n"), note = write("older", "nonsense\n");
  const auto exported = run({"audit", "verify", "--export", csv, "--key", verifier_key});
  EXPECT_EQ(exported.code, exit_wrong_use);
  EXPECT_THAT(exported.err, AllOf(HasSubstr("--export: " + csv), HasSubstr("jsonl")));
  EXPECT_THAT(exported.out, IsEmpty());
  const auto older = run({"audit", "verify", "--export", csv, "--key", verifier_key, "--older", note});
  EXPECT_EQ(older.code, exit_wrong_use);
  EXPECT_THAT(older.err, HasSubstr("--older: " + note + " holds no checkpoint"));
  EXPECT_THAT(older.out, IsEmpty());
}

// Nobody listens at this URL: what is said was found before anything was asked, and before anything was
// erased.
TEST_F(Program, AuditLooksAtItsOutputFileFirst) {
  const auto key = write("key", std::string(40, 'k'));
  const auto nowhere = (folder_ / "none" / "x").string();
  for (const auto& command : std::vector<std::vector<std::string>>{
           {"audit", "erase", "--subject", "s", "--reason", "r"},
           {"audit", "export"},
           {"audit", "report", "--profile", "soc2", "--from", "2020-01-01", "--to", "2020-02-01"}}) {
    for (const auto& [file, said] :
         {std::pair{folder_.string(), "is a folder"}, {nowhere, "there is no folder"}}) {
      auto arguments = command;
      arguments.insert(arguments.end(), {"--key-file", key, "--url", "http://127.0.0.1:1", "-o", file});
      const auto result = run(arguments);
      EXPECT_EQ(result.code, exit_wrong_use) << testing::PrintToString(arguments) << result.err;
      EXPECT_THAT(result.err, AllOf(HasSubstr("--out: " + file), HasSubstr(said), Not(HasSubstr("goes on"))));
    }
  }
  EXPECT_FALSE(std::filesystem::exists(folder_.string() + ".part"));
}

// In a folder that all may write to another user would choose what an auditor believes.
TEST_F(Program, WithoutAFolderOfItsOwnNothingIsVerified) {
  const auto key = write("key", std::string(40, 'k'));
  const auto result = run({"audit", "verify", "--key-file", key, "--url", "http://127.0.0.1:1"},
                          {"HOME=", "XDG_STATE_HOME="});
  EXPECT_EQ(result.code, exit_wrong_use) << result.err;
  EXPECT_THAT(result.err, HasSubstr("neither HOME nor XDG_STATE_HOME is set"));
}

// Nothing is sent of a file with a fault, so no daemon is needed to be told of it.
TEST_F(Program, ImportNamesTheLineThatIsWrong) {
  const std::string heading = "TIMESTAMP,ContextTokens,GeneratedTokens\n",
                    good = "2023-11-16 18:17:03.9799600,10,2\n";
  const std::pair<std::string, std::string> faults[] = {
      {"2023-11-16 18:17:03,ten,2\n", "ContextTokens is not a whole number"},
      {"2023-11-16 18:17:03,-1,2\n", "ContextTokens is not a whole number"},
      {"2023-11-16 18:17:03,99999999999999999999,2\n", "ContextTokens is not a whole number"},
      {"2023-11-16 18:17:03,10,2.5\n", "GeneratedTokens is not a whole number"},
      {"2023-11-16 18:17:03,10,\n", "GeneratedTokens is not a whole number"},
      {"2023-11-16 18:17:03,10\n", "has not three fields"},
      {"2023-11-16 18:17:03,10,2,7\n", "has not three fields"},
      {"yesterday,10,2\n", "TIMESTAMP is not a time"}};
  for (const auto& [row, said] : faults) {
    const auto file = write("trace.csv", heading + good + "\n" + row + good);
    const auto result = run({"import", file, "--model", "m"});
    EXPECT_EQ(result.code, exit_wrong_use) << row;
    EXPECT_THAT(result.err, AllOf(HasSubstr("line 4: " + said), HasSubstr(file))) << row;
  }
  const auto headless = run({"import", write("trace.csv", good), "--model", "m"});
  EXPECT_EQ(headless.code, exit_wrong_use);
  EXPECT_THAT(headless.err, HasSubstr("line 1: the heading must be TIMESTAMP,ContextTokens,GeneratedTokens"));
}

TEST_F(Program, ConfigShowIsAFileThatConfigCheckAccepts) {
  const auto shown = run({"config", "show"});
  EXPECT_EQ(shown.code, exit_good);
  EXPECT_EQ(run({"config", "check", "--config", write("shown.toml", shown.out)}).code, exit_good);
}

TEST_F(Program, ConfigDocsIsTheDocumentationFile) {
  EXPECT_EQ(run({"config", "docs"}).out,
            read_file(CITADEL_SOURCE_FOLDER "/docs/configuration.md", 1 << 20).value_or(""));
}

TEST_F(Program, AnImportWithoutAFolderOfItsOwnForItsStateIsRefused) {
  const auto trace =
      write("trace.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,1,1\n");
  const auto key = write("admin.key", std::string(40, 'k'));
  const auto result =
      run({"import", trace, "--model", "m", "--key-file", key, "--url", "http://127.0.0.1:1"});
  EXPECT_EQ(result.code, exit_wrong_use);
  EXPECT_THAT(result.err, HasSubstr("--state"));
}

TEST_F(Program, OutputThatCannotBeWrittenIsAFailure) {
  // One that fits a buffer fails at its end only.
  for (const auto& arguments : std::vector<std::vector<std::string>>{{"config", "docs"}, {"version"}}) {
    const auto full = run(arguments, {}, "/dev/full");
    EXPECT_EQ(full.code, exit_check_failed);
    EXPECT_THAT(full.err, HasSubstr("standard output"));
  }
}

TEST(ContextReport, ExitCodesFitTheError) {
  std::ostringstream err;
  Context context;
  context.err = &err;
  EXPECT_EQ(context.report(Error(Code::unavailable, "no daemon")), exit_unreachable);
  EXPECT_EQ(context.report(Error(Code::connection_lost, "gone")), exit_unreachable);
  EXPECT_EQ(context.report(Error(Code::deadline_exceeded, "late")), exit_unreachable);
  EXPECT_EQ(context.report(Error(Code::invalid_argument, "bad")), exit_wrong_use);
  EXPECT_EQ(context.report(Error(Code::conflict, "no")), exit_check_failed);
  EXPECT_THAT(err.str(), StartsWith("citadel: unavailable: no daemon\n"));
}

TEST(ContextReport, WithJsonAnErrorIsOneLineOfIt) {
  std::ostringstream err;
  Context context;
  context.err = &err;
  context.json = true;
  context.progress("1 of 2\n");
  Error error(Code::conflict, "it says \"no\"\n\xff");
  std::ranges::copy(std::string_view("23505"), error.sqlstate);
  error.detail = "Key (name)=(ada) already exists.";  // may hold values of rows
  EXPECT_EQ(context.report(error.in("commit")), exit_check_failed);
  EXPECT_EQ(err.str(),
            "{\"code\":\"conflict\",\"message\":\"it says \\\"no\\\"\\n\uFFFD\",\"sqlstate\":\"23505\","
            "\"where\":\"commit\",\"exit_code\":1}\n");
}

TEST(ContextReport, AProblemOfTheDaemonIsGivenAsItCame) {
  std::ostringstream err;
  Context context;
  context.err = &err;
  context.json = true;
  http::ClientResponse answer;
  answer.status = 409;
  answer.body =
      R"({"type":"/problems/conflict","title":"No","status":409,"detail":"a hold keeps it","instance":"r-1"})";
  EXPECT_EQ(context.report(error_of(answer)), exit_check_failed);
  EXPECT_EQ(err.str(), R"({"code":"conflict","message":"a hold keeps it","exit_code":1,"problem":)" +
                           answer.body + "}\n");
  err.str("");
  answer.body = "<html>a proxy's";
  context.report(error_of(answer));
  EXPECT_THAT(err.str(), AllOf(HasSubstr("status 409"), Not(HasSubstr("problem"))));
}

TEST(Table, AlignsColumnsByCharactersAndNumbersRight) {
  Table table({{"model"}, {"tokens", Align::right}, {"note"}});
  table.add({"mixtral", "1,204", "a"});
  table.add({"möwe", "7", ""});
  EXPECT_EQ(table.render(),
            "model    tokens  note\n"
            "-------  ------  ----\n"
            "mixtral   1,204  a\n"
            "möwe          7\n");
}

TEST(Table, ACellCannotBreakTheLineOrCommandTheTerminal) {
  Table table({{"name"}});
  table.add({"a\nb\x1b[2J"});
  EXPECT_THAT(table.render(), HasSubstr("a?b?[2J\n"));
}

TEST(TableDeathTest, ARowHasAsManyCellsAsColumns) {
  Table table({{"a"}, {"b"}});
  EXPECT_DEATH(table.add({"1"}), "as many cells as columns");
}

TEST(FormatCount, GroupsThousands) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(1000), "1,000");
  EXPECT_EQ(format_count(-1234567), "-1,234,567");
  EXPECT_EQ(format_count(-123), "-123");
}

TEST(JsonText, EscapesQuotesAndControlCharacters) {
  EXPECT_EQ(json_string("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000a\"");
  EXPECT_EQ(json_lines("a\nb"), "[\"a\",\"b\"]");
  EXPECT_EQ(json_lines(""), "[]");
}

}  // namespace
}  // namespace citadel::cli

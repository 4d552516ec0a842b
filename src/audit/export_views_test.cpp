#include "audit/export_views.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/object.hpp>

#include "audit/audit_testing.hpp"
#include "json/parse.hpp"

namespace citadel::audit {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const ViewSource source{.host = "audit-1.example.com", .version = "0.1.0"};

class ExportViews : public testing::Test {
 protected:
  template <class Append>
  std::string line(Append append) {
    leaf.id = event.id;
    leaf.time = event.time;
    leaf.action_class = find_action(event.action).value().action_class;
    std::string out;
    append(out, ViewedEntry{.index = 7, .leaf = leaf, .event = erased ? nullptr : &event, .proof = proof});
    return out;
  }
  std::string csv() { return line(append_csv); }
  std::string cef() {
    return line([](std::string& out, const ViewedEntry& entry) { append_cef(out, entry, source); });
  }
  std::string syslog() {
    return line([](std::string& out, const ViewedEntry& entry) { append_syslog(out, entry, source); });
  }
  boost::json::object ocsf() {
    const std::string text =
        line([](std::string& out, const ViewedEntry& entry) { append_ocsf(out, entry, source); });
    EXPECT_THAT(text, EndsWith("}\n"));
    return json::parse(text.substr(0, text.size() - 1), {}).value().as_object();
  }
  std::int64_t ocsf_type(std::string_view action) {
    event.action = action;
    const auto object = ocsf();
    EXPECT_EQ(object.at("class_uid").as_int64() * 100 + object.at("activity_id").as_int64(),
              object.at("type_uid").as_int64());
    EXPECT_EQ(object.at("class_uid").as_int64() / 1000, object.at("category_uid").as_int64());
    return object.at("type_uid").as_int64();
  }

  Event event = full_event();
  Leaf leaf;
  bool erased = false;
  std::string proof;
};

TEST_F(ExportViews, AProofIsThereAsItIsOrInBase64) {
  EXPECT_THAT(csv() + cef() + syslog(), Not(HasSubstr("roof")));
  EXPECT_FALSE(ocsf().at("unmapped").as_object().contains("proof"));
  proof = "c2sp.org/tlog-proof@v1\nindex 7\nAB==\n\nexample.com/a,\"b\"\n";
  for (const bool gone : {false, true}) {
    erased = gone;
    std::string header;
    append_csv_header(header, true);
    EXPECT_THAT(header, EndsWith(",details,proof\r\n"));
    EXPECT_THAT(csv(),
                EndsWith(",\"c2sp.org/tlog-proof@v1\nindex 7\nAB==\n\nexample.com/a,\"\"b\"\"\n\"\r\n"));
    EXPECT_EQ(ocsf().at("unmapped").as_object().at("proof").as_string(), proof);
    EXPECT_THAT(cef(),
                EndsWith(R"( CitadelProof=c2sp.org/tlog-proof@v1\nindex 7\nAB\=\=\n\nexample.com/a,"b"\n)"
                         "\n"));
    EXPECT_THAT(
        syslog(),
        HasSubstr(
            R"( proof="YzJzcC5vcmcvdGxvZy1wcm9vZkB2MQppbmRleCA3CkFCPT0KCmV4YW1wbGUuY29tL2EsImIiCg==")"));
  }
}

TEST_F(ExportViews, CsvHasAFieldForEachColumn) {
  std::string header;
  append_csv_header(header);
  EXPECT_THAT(header, StartsWith("index,id,time,class"));
  EXPECT_EQ(
      csv(),
      "7," + event.id.to_string() +
          ",2026-11-25T11:59:58.750000Z,use,standard,present,2026-11-25T12:00:00.250000Z,acme,"
          "inference.complete,success,info,user,ada,mtls,2001:db8::7,bob,model_version,fraud/7,"
          "\"asked \"\"why\"\" by é\",0af7651916cd43dd8448eb211c80319c,req-1,customer-9,"
          "\"[{\"\"role\"\":\"\"user\"\",\"\"content\"\":\"\"hi\"\"}]\",\"{\"\"text\"\":\"\"ho\"\"}\",17,"
          "\"\"\"plain\"\"\"\r\n");
  erased = true;
  const std::string gone = csv();
  EXPECT_THAT(gone, HasSubstr(",erased,"));
  EXPECT_EQ(std::ranges::count(gone, ','), std::ranges::count(header, ','));
}

TEST_F(ExportViews, CsvDisarmsFormulas) {
  for (const char* formula : {"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"}) {
    event.reason = formula;
    EXPECT_THAT(csv(), HasSubstr(",\"'" + std::string(formula) + "\",")) << formula;
  }
  event.reason = "a=1, \"b\"\n";
  EXPECT_THAT(csv(), HasSubstr(",\"a=1, \"\"b\"\"\n\","));
}

TEST_F(ExportViews, CefEscapesHeaderAndFields) {
  event.reason = R"(a=b\c|d)";
  const std::string text = cef();
  EXPECT_THAT(text, StartsWith("CEF:0|Citadel|Citadel|0.1.0|inference.complete|inference.complete|1|start="));
  EXPECT_THAT(text, HasSubstr(R"( reason=a\=b\\c|d suser=ada)"));
  EXPECT_THAT(text, HasSubstr(" c6a2Label=Source IPv6 Address c6a2=2001:db8::7 "));
  EXPECT_THAT(text, HasSubstr(" cs1Label=tenant cs1=acme cs2Label=objectType cs2=model_version "));
  EXPECT_THAT(text, HasSubstr(" cn1Label=index cn1=7 "));
  EXPECT_THAT(text, EndsWith("cs6=bob\n"));
  event.reason = "a\r\nb";
  EXPECT_THAT(cef(), HasSubstr(R"(reason=a\r\nb )"));
  event.actor.address = "192.0.2.7";
  EXPECT_THAT(cef(), HasSubstr(" src=192.0.2.7 "));
  event.actor.address = "host.example";
  EXPECT_THAT(cef(), HasSubstr(" shost=host.example "));
  std::string out;
  append_cef(out, {.index = 1, .leaf = leaf, .event = nullptr}, {.host = "", .version = "1|2\\3\n4"});
  EXPECT_THAT(out, StartsWith("CEF:0|Citadel|Citadel|1\\|2\\\\3 4|erased|erased|1|start="));
  EXPECT_THAT(out, Not(HasSubstr("suser")));
}

TEST_F(ExportViews, SeveritiesAreThoseOfTheFormats) {
  event.action = "key.denied";
  EXPECT_THAT(cef(), HasSubstr("|7|"));
  EXPECT_THAT(syslog(), StartsWith("<108>1 "));  // 13 × 8 + 4
  EXPECT_EQ(ocsf().at("severity_id").as_int64(), 3);
  event.action = "audit.gap";
  EXPECT_THAT(cef(), HasSubstr("|10|"));
  EXPECT_THAT(syslog(), StartsWith("<106>1 "));
  EXPECT_EQ(ocsf().at("severity_id").as_int64(), 5);
  event.action = "model.create";
  EXPECT_THAT(cef(), HasSubstr("|4|"));
  EXPECT_THAT(syslog(), StartsWith("<109>1 "));
  EXPECT_EQ(ocsf().at("severity_id").as_int64(), 2);
}

TEST_F(ExportViews, SyslogIsWhatRfc5424Says) {
  event.reason = R"(a"b\c]d)";
  const std::string text = syslog();
  EXPECT_THAT(
      text, StartsWith("<110>1 2026-11-25T11:59:58.750000Z audit-1.example.com citadel - inference.complete "
                       "[citadel@32473 index=\"7\" id=\"" +
                       event.id.to_string() + "\" class=\"use\" received_at="));
  EXPECT_THAT(text, HasSubstr(R"( reason="a\"b\\c\]d" trace_id=)"));
  EXPECT_THAT(text,
              EndsWith("] \xEF\xBB\xBFinference.complete success by user ada on model_version fraud/7"));
  event.action = "x." + std::string(60, 'a');
  EXPECT_THAT(syslog(), HasSubstr(" citadel - x." + std::string(30, 'a') + " ["));
  erased = true;
  EXPECT_THAT(syslog(), EndsWith("] \xEF\xBB\xBF"
                                 "entry 7: its content was erased"));
  std::string out;
  append_syslog(out, {.index = 1, .leaf = leaf, .event = nullptr}, {.host = "", .version = ""});
  EXPECT_THAT(out, HasSubstr("Z - citadel - erased ["));
  out.clear();
  append_syslog(out, {.index = 1, .leaf = leaf, .event = nullptr}, {.host = "a b\u00e9", .version = ""});
  EXPECT_THAT(out, HasSubstr("Z a?b?? citadel "));
  EXPECT_EQ(frame_syslog("\u00e9x"), "3 \u00e9x");
}

TEST_F(ExportViews, OcsfHasTheClassThatFits) {
  EXPECT_EQ(ocsf_type("auth.failure"), 300201);
  EXPECT_EQ(ocsf_type("key.create"), 300401);
  EXPECT_EQ(ocsf_type("role.update"), 300403);
  EXPECT_EQ(ocsf_type("tenant.delete"), 300404);
  EXPECT_EQ(ocsf_type("key.denied"), 600399);
  EXPECT_EQ(ocsf_type("model_version.create"), 600301);
  EXPECT_EQ(ocsf_type("audit.searched"), 600302);
  EXPECT_EQ(ocsf_type("config.change"), 600303);
  EXPECT_EQ(ocsf_type("route.delete"), 600304);
  EXPECT_EQ(ocsf_type("inference.complete"), 600399);
  EXPECT_EQ(ocsf_type("x.mine.own"), 600399);
  EXPECT_EQ(ocsf_type("audit.started"), 600203);
  EXPECT_EQ(ocsf_type("service.stop"), 600204);
  EXPECT_EQ(ocsf_type("database.update"), 600502);
  EXPECT_EQ(ocsf_type("database.insert"), 600505);
  EXPECT_EQ(ocsf_type("database.truncate"), 600507);
  erased = true;
  EXPECT_EQ(ocsf_type("model.create"), 600300);
}

TEST_F(ExportViews, OcsfCarriesWhatItsClassRequires) {
  const auto api = ocsf();
  EXPECT_EQ(api.at("api").as_object().at("operation").as_string(), "inference.complete");
  EXPECT_EQ(api.at("actor").as_object().at("user").as_object().at("uid").as_string(), "ada");
  EXPECT_EQ(api.at("src_endpoint").as_object().at("ip").as_string(), "2001:db8::7");
  EXPECT_EQ(api.at("metadata").as_object().at("uid").as_string(), event.id.to_string());
  EXPECT_EQ(api.at("metadata").as_object().at("sequence").as_int64(), 7);
  EXPECT_EQ(api.at("status_id").as_int64(), 1);
  EXPECT_EQ(api.at("unmapped").as_object().at("tool").as_int64(), 17);
  event.action = "auth.failure";
  event.outcome = Outcome::denied;
  event.actor.address = "";
  const auto authentication = ocsf();
  EXPECT_EQ(authentication.at("user").as_object().at("uid").as_string(), "ada");
  EXPECT_EQ(authentication.at("status_id").as_int64(), 2);
  EXPECT_EQ(authentication.at("src_endpoint").as_object().at("name").as_string(), "unknown");
  event.action = "role.grant";
  EXPECT_EQ(ocsf().at("entity").as_object().at("uid").as_string(), "fraud/7");
  event.action = "database.update";
  EXPECT_EQ(ocsf().at("table").as_object().at("name").as_string(), "fraud/7");
  event.action = "service.start";
  EXPECT_EQ(ocsf().at("app").as_object().at("name").as_string(), "Citadel");
  erased = true;
  EXPECT_EQ(ocsf().at("unmapped").as_object().at("content").as_string(), "erased");
}

}  // namespace
}  // namespace citadel::audit

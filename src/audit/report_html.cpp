// A report as one HTML file: no script, no font, no link to elsewhere.
#include <fmt/format.h>

#include "audit/report.hpp"
#include "base/base64.hpp"
#include "base/time_text.hpp"
#include "tlog/merkle.hpp"

namespace citadel::audit {
namespace {

constexpr std::string_view style = R"(
@page{size:A4;margin:18mm 15mm}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;color:#1b2430;background:#fff;
 max-width:62rem;margin:0 auto;padding:2.5rem 1.5rem 4rem}
h1{font-size:1.7rem;line-height:1.25;margin:0 0 .25rem}
h2{font-size:1.2rem;margin:2.75rem 0 .15rem;padding-top:1rem;border-top:2px solid #1b2430}
.requirement,.lead{color:#51606f;margin:0 0 .8rem}
.requirement{font-size:.87rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1.4rem;margin:1.4rem 0}
dt{color:#51606f}dd{margin:0;overflow-wrap:anywhere}
.verdict{border-left:.35rem solid #1f7a45;background:#eef7f1;padding:.75rem 1rem;margin:1.4rem 0}
.verdict.bad{border-color:#b3261e;background:#fcefee}
nav ol{columns:2;gap:2rem;padding-left:1.3rem;margin:.4rem 0 0}
nav li{break-inside:avoid}
p{margin:.45rem 0}
table{border-collapse:collapse;width:100%;margin:.9rem 0;font-size:.87rem}
th{text-align:left;font-weight:600;border-bottom:1.5px solid #1b2430;padding:.3rem .8rem .3rem 0;vertical-align:bottom}
td{border-bottom:1px solid #dbe1e7;padding:.32rem .8rem .32rem 0;vertical-align:top;overflow-wrap:anywhere}
th.n,td.n{text-align:right;font-variant-numeric:tabular-nums}
td.t{white-space:nowrap;font-variant-numeric:tabular-nums}
tr{break-inside:avoid}thead{display:table-header-group}
a{color:#1a4f8b;text-decoration:none}a:hover{text-decoration:underline}
.cites{font-size:.87rem;color:#51606f}
.limits{font-size:.87rem;background:#f5f6f8;padding:.65rem 1rem;margin:.9rem 0;break-inside:avoid}
.limits b{display:block}.limits ul{margin:.25rem 0 0;padding-left:1.1rem}
pre{font:12px/1.45 ui-monospace,Menlo,Consolas,monospace;background:#f5f6f8;padding:.8rem 1rem;white-space:pre-wrap;
 overflow-wrap:anywhere}
code{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:.92em}
:target{background:#fff6d6}
@media print{body{font-size:10pt;max-width:none;padding:0}a{color:inherit}nav{break-after:page}}
)";

std::string escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

template <class... Args>
void put(std::string& out, fmt::format_string<Args...> form, Args&&... args) {
  fmt::format_to(std::back_inserter(out), form, std::forward<Args>(args)...);
}

// To the second: the appendix has the rest.
std::string short_time(WallTime time) {
  return escape(format_time(std::chrono::floor<std::chrono::seconds>(time)));
}

void put_links(std::string& out, const std::vector<std::uint64_t>& indexes) {
  std::string_view between;
  for (const auto index : indexes) {
    put(out, "{0}<a href=\"#entry-{1}\">{1}</a>", between, index);
    between = ", ";
  }
}

template <class T>
void put_limits(std::string& out, std::string_view title, const std::vector<T>& limits) {
  if (limits.empty()) return;
  put(out, "<div class=\"limits\"><b>{}</b><ul>", title);
  for (const auto& limit : limits) put(out, "<li>{}</li>", escape(limit));
  out += "</ul></div>\n";
}

void put_groups(std::string& out, const ReportTopic& topic) {
  if (topic.groups.empty()) return;
  out += "<table><thead><tr>";
  for (const auto& column : topic.columns) put(out, "<th>{}</th>", escape(column));
  out += "<th class=\"n\">entries</th><th>first</th><th>last</th><th>indexes</th></tr></thead><tbody>\n";
  for (const auto& group : topic.groups) {
    out += "<tr>";
    for (const auto& cell : group.key) put(out, "<td>{}</td>", escape(cell));
    put(out, "<td class=\"n\">{}</td><td class=\"t\">{}</td><td class=\"t\">{}</td><td>", group.count,
        short_time(group.first), short_time(group.last));
    put_links(out, group.cited);
    out += group.count > group.cited.size() ? ", …</td></tr>\n" : "</td></tr>\n";
  }
  out += "</tbody></table>\n";
  if (topic.ungrouped > 0)
    put(out, "<p>{} more entries are of further rows, which are not shown.</p>\n", topic.ungrouped);
}

void put_topic(std::string& out, std::size_t number, const ReportTopic& topic) {
  put(out, "<section><h2 id=\"topic-{0}\">{0}. {1}</h2>\n<p class=\"requirement\">{2}</p>\n", number,
      escape(topic.title), escape(topic.requirement));
  for (const auto& statement : topic.statements) put(out, "<p>{}</p>\n", escape(statement));
  if (topic.topic == Topic::population && !topic.listed.empty()) {
    out += "<p class=\"cites\">The sample: ";
    put_links(out, topic.listed);
    out += "</p>\n";
  }
  put_groups(out, topic);
  if (topic.topic != Topic::population && topic.listed.size() > 0 && topic.count > topic.listed.size()) {
    put(out, "<p class=\"cites\">The first {} of these {} are in the appendix.</p>\n", topic.listed.size(),
        topic.count);
  }
  put_limits(out, "What these entries cannot show", topic.limits);
  out += "</section>\n";
}

void put_head(std::string& out, const Report& report) {
  const auto& options = report.options;
  put(out, "<h1>Audit report: {}</h1>\n<p class=\"lead\">{}</p>\n", escape(report.origin),
      escape(options.profile.title));
  put(out, "<dl><dt>Time</dt><dd>{} to {}</dd>\n", escape(format_time(options.from)),
      escape(format_time(options.to)));
  put(out, "<dt>Entries</dt><dd>{} of this time, of {} in the log{}</dd>\n", report.in_span, report.examined,
      report.verification.first > 0 ? fmt::format("; {} before them were pruned", report.verification.first)
                                    : "");
  put(out, "<dt>Made</dt><dd>{}</dd>\n", escape(format_time(report.made_at)));
  put(out, "<dt>Log’s key</dt><dd><code>{}</code></dd></dl>\n", escape(report.verification.key));
  const auto& found = report.verification;
  if (found.passed) {
    put(out,
        "<p class=\"verdict\">The log verified while it was read: the leaves of its {} entries are as they "
        "were written, under a signed checkpoint, and so is the content of {}; of {} it is not there.</p>\n",
        found.entries, found.envelopes, found.envelopes_missing);
  } else {
    put(out,
        "<p class=\"verdict bad\">The log did not verify. Nothing in this report can be relied on: {}</p>\n",
        escape(found.finding));
  }
  out +=
      "<p>Each number below counts entries of the log, and the indexes beside it name some of them; the "
      "appendix has what they say. <code>citadel audit prove INDEX</code> makes a proof of any of them that "
      "can be checked without this daemon.</p>\n<nav><ol>";
  for (std::size_t i = 0; i < report.topics.size(); ++i)
    put(out, "<li><a href=\"#topic-{}\">{}</a></li>", i + 1, escape(report.topics[i].title));
  out += "</ol></nav>\n";
}

void put_checkpoint(std::string& out, const ReportVerification& found) {
  out += "<section><h2>The signed checkpoint</h2>\n";
  put(out, "<pre>{}</pre>\n", escape(found.checkpoint));
  for (const auto& witness : found.cosigned_by) put(out, "<p>Cosigned by {}</p>\n", escape(witness));
  out += "</section>\n";
}

void put_entry(std::string& out, const CitedEntry& entry) {
  put(out, "<tr id=\"entry-{0}\"><td class=\"n\">{0}</td><td class=\"t\">{1}</td>", entry.index,
      short_time(entry.leaf.time));
  if (!entry.event) {
    put(out, "<td colspan=\"4\">the content is gone; its leaf is of class {}</td>",
        to_string(entry.leaf.action_class));
  } else {
    const auto& event = *entry.event;
    put(out, "<td>{} {}{}{}</td><td>{}<br>{}</td><td>{} {}</td><td>{}</td>", escape(event.actor.type),
        escape(event.actor.id), event.actor.address.empty() ? "" : " from ", escape(event.actor.address),
        escape(event.action), to_string(event.outcome), escape(event.object.type), escape(event.object.id),
        escape(event.reason));
  }
  put(out, "<td><code>{}<br>{}</code></td></tr>\n", entry.leaf.id.to_string(),
      to_base64(tlog::leaf_hash(as_bytes(encode_leaf(entry.leaf)))));
}

}  // namespace

std::string report_html(const Report& report) {
  std::string out;
  put(out,
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width\"><title>Audit report: "
      "{}</title><style>{}</style>"
      "</head><body>\n",
      escape(report.origin), style);
  put_head(out, report);
  for (std::size_t i = 0; i < report.topics.size(); ++i) put_topic(out, i + 1, report.topics[i]);
  out += "<section><h2>Beyond this log</h2>\n";
  put_limits(out, "What the profile asks for and no audit log can show", report.options.profile.beyond);
  out += "</section>\n";
  put_checkpoint(out, report.verification);
  out +=
      "<section><h2>Appendix: the entries that are named</h2>\n<table><thead><tr><th class=\"n\">index</th>"
      "<th>time</th><th>actor</th><th>action</th><th>object</th><th>reason</th><th>id, leaf hash</th></tr>"
      "</thead><tbody>\n";
  for (const auto& [index, entry] : report.cited) put_entry(out, entry);
  out += "</tbody></table></section>\n</body></html>\n";
  return out;
}

}  // namespace citadel::audit

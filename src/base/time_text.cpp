#include "base/time_text.hpp"

namespace citadel {
namespace {

constexpr WallTime earliest = std::chrono::sys_days{std::chrono::year{1970} / 1 / 1};
constexpr WallTime beyond = std::chrono::sys_days{std::chrono::year{10000} / 1 / 1};

// Reads digits from the front of a text; any step that does not fit makes the whole bad.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  int digits(std::size_t count) {
    if (text_.size() < count) return fail();
    int value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (text_[i] < '0' || text_[i] > '9') return fail();
      value = value * 10 + (text_[i] - '0');
    }
    text_.remove_prefix(count);
    return value;
  }
  char one_of(std::string_view accepted) {
    if (text_.empty() || accepted.find(text_.front()) == std::string_view::npos) {
      fail();
      return '\0';
    }
    const char found = text_.front();
    text_.remove_prefix(1);
    return found;
  }
  bool peek(char wanted) const { return !text_.empty() && text_.front() == wanted; }
  bool peek_digit() const { return !text_.empty() && text_.front() >= '0' && text_.front() <= '9'; }
  bool good_to_end() const { return good_ && text_.empty(); }

 private:
  int fail() {
    good_ = false;
    return 0;
  }
  std::string_view text_;
  bool good_ = true;
};

std::chrono::microseconds read_fraction(Reader& in) {
  std::int64_t micros = 0;
  int count = 0;
  if (!in.peek('.')) return std::chrono::microseconds(0);
  in.one_of(".");
  do {
    const int digit = in.digits(1);
    if (count < 6) micros = micros * 10 + digit;
    ++count;
  } while (in.peek_digit() && count < 9);
  for (; count < 6; ++count) micros *= 10;
  return std::chrono::microseconds(micros);
}

}  // namespace

std::string format_time(WallTime time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  const auto micros = clock.subseconds().count();
  std::string out = micros == 0 ? "0000-00-00T00:00:00Z" : "0000-00-00T00:00:00.000000Z";
  // Exports print times by the million; a format string would be read anew for each.
  const auto put = [&](std::size_t begin, std::size_t end, std::int64_t value) {
    for (; end > begin; value /= 10) out[--end] = static_cast<char>('0' + value % 10);
  };
  put(0, 4, static_cast<int>(date.year()));
  put(5, 7, static_cast<unsigned>(date.month()));
  put(8, 10, static_cast<unsigned>(date.day()));
  put(11, 13, clock.hours().count());
  put(14, 16, clock.minutes().count());
  put(17, 19, clock.seconds().count());
  if (micros != 0) put(20, 26, micros);
  // No time of ours, but a version 7 id may say so.
  if (time < earliest || time >= beyond) out.replace(0, 4, std::to_string(static_cast<int>(date.year())));
  return out;
}

std::optional<WallTime> parse_time(std::string_view text) {
  using namespace std::chrono;
  Reader in(text);
  const int y = in.digits(4);
  in.one_of("-");
  const int mo = in.digits(2);
  in.one_of("-");
  const int d = in.digits(2);
  in.one_of("Tt ");
  const int h = in.digits(2);
  in.one_of(":");
  const int mi = in.digits(2);
  in.one_of(":");
  const int s = in.digits(2);
  const microseconds fraction = read_fraction(in);
  const char zone = in.one_of("Zz+-");
  minutes offset(0);
  if (zone == '+' || zone == '-') {
    const int oh = in.digits(2);
    in.one_of(":");
    const int om = in.digits(2);
    if (oh > 23 || om > 59) return std::nullopt;
    offset = minutes((oh * 60 + om) * (zone == '-' ? -1 : 1));
  }
  const year_month_day date(year(y), month(static_cast<unsigned>(mo)), day(static_cast<unsigned>(d)));
  if (!in.good_to_end() || !date.ok() || h > 23 || mi > 59 || s > 59) return std::nullopt;
  // After the offset, which moves the first and the last hours into another year.
  const WallTime time = WallTime(sys_days(date)) + hours(h) + minutes(mi) + seconds(s) + fraction - offset;
  if (time < earliest || time >= beyond) return std::nullopt;
  return time;
}

std::optional<WallTime> parse_day_or_time(std::string_view text) {
  constexpr std::string_view day = "2026-11-25";
  return parse_time(text.size() == day.size() ? std::string(text) + "T00:00:00Z" : std::string(text));
}

}  // namespace citadel

// Table: aligned columns for people.
//
//   Table table({{"model"}, {"tokens", Align::right}});
//   table.add({"mixtral-8x7b", "1,204"});
//   std::cout << table.render();
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace citadel::cli {

enum class Align : std::uint8_t { left, right };

struct Column {
  std::string heading;
  Align align = Align::left;
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  // As many cells as there are columns (CHECK). Control characters become '?', so that a cell stays in its
  // line and a name from the database cannot command the terminal.
  void add(std::vector<std::string> cells);
  // The headings, a rule, and a line for each row; two blanks between columns and none at the end of a line.
  std::string render() const;
  bool empty() const { return rows_.empty(); }

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// 1234567 as "1,234,567".
std::string format_count(std::int64_t number);

}  // namespace citadel::cli

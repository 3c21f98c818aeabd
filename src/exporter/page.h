// From readings to the text of a scrape, in two steps. A sheet is made once per reading and holds
// every line's labels as finished text; printing a sheet only copies text and writes numbers, so a
// scrape is cheap however often it comes. Pure. Format: metrics contract §1.1, §1.6.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "exporter/counters.h"
#include "exporter/types.h"

namespace kerf::exporter {

enum class HostLabel { kUpper, kLower, kBoth };  // Hostname, hostname

struct PageOptions {
  std::string host;  // empty: no host label
  HostLabel host_label = HostLabel::kUpper;
  bool old_names = false;        // uuid, pod_name, pod_namespace, container_name
  bool dashes_in_model = false;  // blanks of the model become dashes
  bool share_by_share = false;   // a line for every pod of a shared device
  bool pod_uid = false;
};

class Sheet {
 public:
  // Appends the whole exposition. Allocates at most once.
  void print(std::string& out) const;
  std::size_t lines() const { return lines_.size(); }

 private:
  friend class SheetMaker;
  struct Block {
    std::string head;  // "# HELP …\n# TYPE …\n"
    std::string name;
    std::size_t first = 0;  // of its lines
    std::size_t count = 0;
  };
  struct Line {
    std::uint32_t labels = 0;  // position in labels_
    Value value;
  };
  std::vector<Block> blocks_;
  std::vector<Line> lines_;
  std::vector<std::string> labels_;  // "{gpu="0",…} "
  std::size_t bytes_ = 0;            // an upper bound of what print appends
};

using SheetPtr = std::shared_ptr<const Sheet>;

// `readings` in the order in which lines are to be printed.
SheetPtr make_sheet(const Counters& counters, std::span<const Reading> readings,
                    const Attribution& attribution, const Jobs& jobs, const PageOptions& options);

// Text as a label's value: backslash, quote and line feed escaped, bytes that are not UTF-8
// replaced.
std::string label_value(std::string_view text);

// Appends a number as the exposition has it: integers plain, reals with six decimals.
void append_number(std::string& out, const Value& value);

// A key of a Kubernetes label as the name of a metric label: what is no letter, digit or
// underscore becomes an underscore.
std::string label_name(std::string_view key);

}  // namespace kerf::exporter

#include "config/tree.h"

#include <algorithm>
#include <istream>
#include <map>
#include <optional>
#include <streambuf>
#include <unordered_map>
#include <unordered_set>

#include "base/strings.h"
#include "config/parse.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

namespace kerf::config {
namespace {

// Characters of all scalars after aliases are followed; what an alias bomb would multiply.
constexpr std::size_t kMaxScalarBytes = 4 * kMaxFileBytes;

// Ends the reading from inside yaml-cpp; caught in read_tree.
struct Stop {};

Position position_of(const YAML::Mark& mark) {
  if (mark.is_null()) return {};
  return {static_cast<unsigned>(mark.line + 1), static_cast<unsigned>(mark.column + 1)};
}

struct Weight {
  std::size_t nodes = 0;
  std::size_t bytes = 0;
};

Weight weigh(const Node& node) {
  Weight total{1, node.text.size()};
  auto add = [&total](const Node& child) {
    Weight w = weigh(child);
    total.nodes += w.nodes;
    total.bytes += w.bytes;
  };
  for (const Entry& entry : node.entries) {
    add(entry.value);
    total.bytes += entry.key.size();
  }
  for (const Node& item : node.items) add(item);
  return total;
}

unsigned depth_of(const Node& node) {
  unsigned deepest = 0;
  for (const Entry& entry : node.entries) deepest = std::max(deepest, depth_of(entry.value));
  for (const Node& item : node.items) deepest = std::max(deepest, depth_of(item));
  return deepest + 1;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (true) {
    std::size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return lines;
    text.remove_prefix(end + 1);
  }
}

// Column (from 1) of a TAB among the blanks and block markers that begin the line; 0 if none.
unsigned tab_in_indentation(std::string_view line, std::size_t before) {
  for (std::size_t i = 0; i < std::min(line.size(), before); ++i) {
    if (line[i] == '\t') return static_cast<unsigned>(i + 1);
    if (line[i] != ' ' && line[i] != '-' && line[i] != '?') return 0;
  }
  return 0;
}

class Builder : public YAML::EventHandler {
 public:
  Builder(std::string_view text, std::vector<Diagnostic>& findings)
      : lines_(lines_of(text)), findings_(findings) {}

  Node take_root() { return std::move(root_); }
  const std::vector<std::string_view>& lines() const { return lines_; }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Node node = make(mark, Node::Type::kNull);
    if (wants_key()) node.text = "null";
    finish(std::move(node), anchor);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    Node node = make(mark, Node::Type::kString);
    node.text = value;
    if (tag != "!" && tag != "tag:yaml.org,2002:str") resolve_plain(node);
    if (tag == "tag:yaml.org,2002:binary") {
      stop(node.at, "the tag !!binary is not supported", "write the text itself");
    }
    finish(std::move(node), anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    auto found = anchors_.find(anchor);
    if (found == anchors_.end()) {
      stop(position_of(mark), "an alias stands inside the value that it names",
           "write the value out");
    }
    Weight weight = weigh(found->second);
    count(position_of(mark), weight.nodes, weight.bytes);
    if (frames_.size() + depth_of(found->second) > kMaxNesting) too_deep(position_of(mark));
    Node node = found->second;
    node.at = position_of(mark);
    place(std::move(node));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value style) override {
    open(make(mark, Node::Type::kList), anchor, style);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value style) override {
    open(make(mark, Node::Type::kMap), anchor, style);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override {
    keep_last_of_duplicates(frames_.back().node.entries);
    merge(frames_.back().node);
    close();
  }

  [[noreturn]] void stop(Position at, std::string message, std::string hint) {
    add(Severity::kError, at, {}, std::move(message), std::move(hint));
    throw Stop{};
  }

 private:
  struct Frame {
    Node node;
    YAML::anchor_t anchor = 0;
    bool flow = false;
    std::optional<Entry> entry;  // of a map, when the key is read and the value is not
  };

  void add(Severity severity, Position at, std::string path, std::string message,
           std::string hint) {
    Diagnostic d;
    d.severity = severity;
    d.at = at;
    d.path = std::move(path);
    d.message = std::move(message);
    d.hint = std::move(hint);
    findings_.push_back(std::move(d));
  }

  bool wants_key() const {
    return !frames_.empty() && frames_.back().node.is(Node::Type::kMap) && !frames_.back().entry;
  }

  // Go's parser refuses TABs as indentation where yaml-cpp lets some pass with another meaning.
  void refuse_tab(Position at) {
    bool in_flow = !frames_.empty() && frames_.back().flow;
    if (in_flow || at.line == 0 || at.line > lines_.size()) return;
    unsigned column = tab_in_indentation(lines_[at.line - 1], at.column - 1);
    if (column == 0) return;
    stop({at.line, column}, "found character that cannot start any token: a TAB in the indentation",
         "indent with spaces");
  }

  Node make(const YAML::Mark& mark, Node::Type type) {
    Node node;
    node.type = type;
    node.at = position_of(mark);
    return node;
  }

  void count(Position at, std::size_t nodes, std::size_t bytes) {
    nodes_ += nodes;
    bytes_ += bytes;
    if (nodes_ <= kMaxNodes && bytes_ <= kMaxScalarBytes) return;
    stop(at,
         fmt::format("the file holds more than {} values or {} bytes of text once its aliases "
                     "are followed",
                     kMaxNodes, kMaxScalarBytes),
         "is this the right file? a configuration takes a few dozen values");
  }

  // yaml-cpp also takes a bracket that is never closed for the beginning of such a key.
  [[noreturn]] void no_key(Position at) {
    stop(at, "a list or mapping cannot be a key, or its bracket is never closed",
         "close every [ and {, and write keys as words");
  }

  [[noreturn]] void too_deep(Position at) {
    stop(at, fmt::format("nested more than {} levels deep", kMaxNesting),
         "a configuration takes five levels");
  }

  void open(Node node, YAML::anchor_t anchor, YAML::EmitterStyle::value style) {
    refuse_tab(node.at);
    if (wants_key()) no_key(node.at);
    count(node.at, 1, 0);
    if (frames_.size() >= kMaxNesting) too_deep(node.at);
    frames_.push_back({std::move(node), anchor, style == YAML::EmitterStyle::Flow, std::nullopt});
  }

  void close() {
    Frame frame = std::move(frames_.back());
    frames_.pop_back();
    remember(frame.anchor, frame.node);
    place(std::move(frame.node));
  }

  // The copy counts, so that anchors within anchors cannot multiply memory.
  void remember(YAML::anchor_t anchor, const Node& node) {
    if (anchor == 0) return;
    Weight weight = weigh(node);
    count(node.at, weight.nodes, weight.bytes);
    anchors_[anchor] = node;
  }

  void finish(Node node, YAML::anchor_t anchor) {
    refuse_tab(node.at);
    count(node.at, 1, node.text.size());
    remember(anchor, node);
    place(std::move(node));
  }

  void place(Node node) {
    if (frames_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& parent = frames_.back();
    if (parent.node.is(Node::Type::kList)) {
      parent.node.items.push_back(std::move(node));
    } else if (!parent.entry) {
      if (node.is(Node::Type::kMap) || node.is(Node::Type::kList)) {
        no_key(node.at);
      }
      parent.entry = Entry{node.text, node.at, {}};
    } else {
      parent.entry->value = std::move(node);
      parent.node.entries.push_back(std::move(*parent.entry));
      parent.entry.reset();
    }
  }

  std::string path_here() const {
    std::string path;
    for (const Frame& frame : frames_) {
      if (frame.node.is(Node::Type::kList)) {
        path += fmt::format("[{}]", frame.node.items.size());
      } else if (frame.entry) {
        path += (path.empty() ? "" : ".") + printable(frame.entry->key);
      }
    }
    return path;
  }

  void keep_last_of_duplicates(std::vector<Entry>& entries) {
    std::unordered_map<std::string_view, std::size_t> last;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      auto [found, is_new] = last.try_emplace(entries[i].key, i);
      if (is_new) continue;
      std::string path = path_here();
      path += (path.empty() ? "" : ".") + printable(entries[i].key);
      add(Severity::kWarning, entries[i].at, std::move(path),
          fmt::format("key given again; the one in line {} is ignored",
                      entries[found->second].at.line),
          "keep one of them");
      found->second = i;
    }
    if (last.size() == entries.size()) return;
    std::vector<Entry> kept;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (last.at(entries[i].key) == i) kept.push_back(entries[i]);
    }
    entries = std::move(kept);
  }

  // "<<: *defaults": entries of the named map(s) that this one does not have itself.
  void merge(Node& map) {
    auto is_merge = [](const Entry& entry) {
      return entry.key == "<<" &&
             (entry.value.is(Node::Type::kMap) || entry.value.is(Node::Type::kList));
    };
    auto at = std::find_if(map.entries.begin(), map.entries.end(), is_merge);
    if (at == map.entries.end()) return;
    Node source = std::move(at->value);
    map.entries.erase(at);
    std::vector<Node> maps;
    if (source.is(Node::Type::kMap)) {
      maps.push_back(std::move(source));
    } else {
      maps = std::move(source.items);
    }
    std::unordered_set<std::string> present;
    for (const Entry& entry : map.entries) present.insert(entry.key);
    for (Node& from : maps) {
      for (Entry& entry : from.entries) {
        if (present.insert(entry.key).second) map.entries.push_back(std::move(entry));
      }
    }
  }

  std::vector<std::string_view> lines_;
  std::vector<Diagnostic>& findings_;
  std::vector<Frame> frames_;
  std::map<YAML::anchor_t, Node> anchors_;
  Node root_;
  std::size_t nodes_ = 0;
  std::size_t bytes_ = 0;
};

// Reads the text in place; yaml-cpp asks for a stream.
class View : public std::streambuf {
 public:
  explicit View(std::string_view text) {
    char* begin = const_cast<char*>(text.data());
    setg(begin, begin, begin + text.size());
  }
};

// yaml-cpp's words for a TAB are misleading; its position may be on the line or the one after.
Diagnostic syntax_error(const YAML::Exception& e, const std::vector<std::string_view>& lines) {
  Diagnostic d;
  d.at = position_of(e.mark);
  d.message = e.msg;
  d.hint = "check indentation, colons, quotes and brackets near this place";
  for (unsigned line : {d.at.line, d.at.line - 1}) {
    if (line == 0 || line > lines.size()) continue;
    if (unsigned column = tab_in_indentation(lines[line - 1], lines[line - 1].size())) {
      d.at = {line, column};
      d.message = "found character that cannot start any token: a TAB in the indentation";
      d.hint = "indent with spaces";
      break;
    }
  }
  return d;
}

void warn_of_more_documents(const YAML::Parser& parser, std::vector<Diagnostic>& findings) {
  if (!parser) return;
  Diagnostic d;
  d.severity = Severity::kWarning;
  d.message = "only the first YAML document of the file is used";
  d.hint = "remove what follows the line ---";
  findings.push_back(std::move(d));
}

}  // namespace

std::string_view to_string(Node::Type type) {
  switch (type) {
    case Node::Type::kNull:
      return "nothing";
    case Node::Type::kBool:
      return "a truth value";
    case Node::Type::kInt:
    case Node::Type::kFloat:
      return "a number";
    case Node::Type::kString:
      return "a string";
    case Node::Type::kMap:
      return "a mapping";
    case Node::Type::kList:
      return "a list";
  }
  return "nothing";
}

Tree read_tree(std::string_view text) {
  Tree tree;
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  tree.findings = check_bytes(text);
  if (!tree.findings.empty()) return tree;
  Builder builder(text, tree.findings);
  try {
    View view(text);
    std::istream stream(&view);
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    tree.root = builder.take_root();
    tree.valid = true;
    warn_of_more_documents(parser, tree.findings);
  } catch (const Stop&) {
    tree.valid = false;
  } catch (const YAML::Exception& e) {
    // What follows a document that was read whole is not our business.
    if (!tree.valid) tree.findings.push_back(syntax_error(e, builder.lines()));
  } catch (const std::exception& e) {
    Diagnostic d;
    d.message = fmt::format("the file cannot be read as YAML: {}", e.what());
    d.hint = "simplify the file";
    if (!tree.valid) tree.findings.push_back(std::move(d));
  }
  return tree;
}

}  // namespace kerf::config

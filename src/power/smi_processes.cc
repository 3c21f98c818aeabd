// The processes on a GPU: the foot of the table, and --query-compute-apps.
#include <algorithm>
#include <array>

#include "base/files.h"
#include "base/roots.h"
#include "base/strings.h"
#include "config/diagnostic.h"
#include "power/smi.h"

#include <fmt/format.h>

namespace kerf::power {
namespace {

constexpr std::size_t kLongestCommand = 64 << 10;
constexpr std::size_t kNameRoom = 36;  // of the table's column

std::string program_of(std::uint32_t pid, const std::string& proc) {
  auto text = read_file(join_path(proc, std::to_string(pid) + "/cmdline"), kLongestCommand);
  if (!text && text.error().kind == Kind::kDenied) return "[Insufficient Permissions]";
  if (!text) return "[Not Found]";
  std::string name = text->substr(0, text->find('\0'));
  // What ends up in a table or in CSV must not break it.
  for (char& c : name) {
    if (static_cast<unsigned char>(c) < 0x20 || c == ',' || c == '\x7F') c = '?';
  }
  return name.empty() ? "[Unknown]" : valid_utf8(name);
}

std::string of_gpu(const SmiGpu& gpu, std::string_view name) {
  for (const SmiField& field : smi_fields()) {
    if (field.name == name) return field.value(gpu);
  }
  return "[N/A]";
}

constexpr SmiAppField kFields[] = {
    {"timestamp", "", "",
     [](const SmiGpu& gpu, const SmiProcess&) { return of_gpu(gpu, "timestamp"); }},
    {"gpu_name", "", "", [](const SmiGpu& gpu, const SmiProcess&) { return of_gpu(gpu, "name"); }},
    {"gpu_bus_id", "", "", [](const SmiGpu& gpu, const SmiProcess&) { return smi_bus_id(gpu); }},
    {"gpu_serial", "", "",
     [](const SmiGpu& gpu, const SmiProcess&) { return of_gpu(gpu, "serial"); }},
    {"gpu_uuid", "", "", [](const SmiGpu& gpu, const SmiProcess&) { return of_gpu(gpu, "uuid"); }},
    {"pid", "", "",
     [](const SmiGpu&, const SmiProcess& process) { return std::to_string(process.running.pid); }},
    {"process_name", "name", "",
     [](const SmiGpu&, const SmiProcess& process) { return process.name; }},
    {"used_gpu_memory", "used_memory", "MiB",
     [](const SmiGpu&, const SmiProcess& process) {
       const auto& bytes = process.running.bytes;
       return bytes ? std::to_string(*bytes >> 20) : std::string("[N/A]");
     }},
};

std::string kind_of(const nvml::RunningProcess& process) {
  std::vector<std::string> letters;
  if (process.mps) letters.emplace_back("M");
  if (process.compute) letters.emplace_back("C");
  if (process.graphics) letters.emplace_back("G");
  return join(letters, "+");
}

std::string instance(const std::optional<std::uint32_t>& id) {
  return id ? std::to_string(*id) : "N/A";
}

// The end of a path says more than its beginning.
std::string shortened(const std::string& name) {
  return name.size() <= kNameRoom ? name : "..." + name.substr(name.size() - (kNameRoom - 3));
}

}  // namespace

Result<std::vector<SmiProcess>> smi_processes(const SmiGpu& gpu, const std::string& proc) {
  auto running = nvml::running_processes(gpu.ask.session(), gpu.device);
  if (!running) return fail(std::move(running.error()));
  std::vector<SmiProcess> out;
  for (const nvml::RunningProcess& each : *running) {
    out.push_back({each, program_of(each.pid, proc)});
  }
  return out;
}

std::span<const SmiAppField> smi_app_fields() { return kFields; }

Result<std::vector<const SmiAppField*>> parse_smi_app_fields(std::string_view list) {
  std::vector<const SmiAppField*> out;
  for (const std::string& part : split(list, ',')) {
    const std::string_view name = trim(part);
    const auto* found = std::ranges::find_if(kFields, [&](const SmiAppField& field) {
      return field.name == name || (!field.alias.empty() && field.alias == name);
    });
    if (found == std::end(kFields)) {
      return fail(
          Kind::kInvalid,
          fmt::format("Field \"{}\" is not a valid field to query.", config::printable(name)), {},
          "--help-query-compute-apps lists those there are");
    }
    out.push_back(found);
  }
  return out;
}

std::string smi_app_head(std::span<const SmiAppField* const> fields, bool units) {
  std::vector<std::string> words;
  for (const SmiAppField* field : fields) {
    words.push_back(units && !field->unit.empty() ? fmt::format("{} [{}]", field->name, field->unit)
                                                  : std::string(field->name));
  }
  return join(words, ", ");
}

std::string smi_app_lines(std::span<const SmiAppField* const> fields, const SmiGpu& gpu,
                          std::span<const SmiProcess> processes, bool units) {
  std::string out;
  for (const SmiProcess& process : processes) {
    if (!process.running.compute && !process.running.mps) continue;
    std::vector<std::string> words;
    for (const SmiAppField* field : fields) {
      std::string value = field->value(gpu, process);
      const bool bare = !units || field->unit.empty() || value.starts_with('[');
      words.push_back(bare ? std::move(value) : fmt::format("{} {}", value, field->unit));
    }
    out += join(words, ", ") + "\n";
  }
  return out;
}

std::string smi_process_rows(unsigned index, std::span<const SmiProcess> processes) {
  std::string out;
  for (const SmiProcess& process : processes) {
    const nvml::RunningProcess& running = process.running;
    const std::string memory = running.bytes ? fmt::format("{}MiB", *running.bytes >> 20) : "N/A";
    out += fmt::format("|{:>5}   {:<4} {:<4}{:>15}{:>7}   {:<36}{:>10} |\n", index,
                       instance(running.gpu_instance), instance(running.compute_instance),
                       running.pid, kind_of(running), shortened(process.name), memory);
  }
  return out;
}

std::string smi_process_table(std::string_view rows) {
  const std::string line = fmt::format("+{:-<89}+\n", "");
  return fmt::format("{:91}\n{}| {:<87} |\n|{:<89}|\n|{:<89}|\n|{:=<89}|\n", "", line, "Processes:",
                     "  GPU   GI   CI              PID   Type   Process name"
                     "                        GPU Memory",
                     "        ID   ID"
                     "                                                               Usage",
                     "") +
         (rows.empty() ? fmt::format("|{:<89}|\n", "  No running processes found")
                       : std::string(rows)) +
         line;
}

}  // namespace kerf::power

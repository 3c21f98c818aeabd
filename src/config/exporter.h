// Options of the metrics exporter as values. They carry the names that NVIDIA's dcgm-exporter has
// for them, behind "exporter-". Source: metrics contract §1.5.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace kerf::config {

struct ExporterOptions {
  std::string collectors = "/etc/dcgm-exporter/default-counters.csv";  // the list of counters
  std::string config_map = "none";  // "namespace:name" of a ConfigMap with the list; none: the file
  std::string address = ":9400";
  std::int64_t interval_ms = 30'000;
  std::string devices = "f";  // f, g or i, with a list behind a colon
  bool kubernetes = false;    // say which pod holds a GPU
  bool virtual_gpus = false;  // a line for every pod that shares one
  bool own_figures = true;    // of memory, activity, power and energy, rather than the device's
  bool pod_labels = false;
  bool pod_uid = false;
  std::vector<std::string> pod_label_patterns;  // regular expressions; empty: all labels
  bool old_namespace = false;
  bool no_hostname = false;
  std::string hostname_label = "Hostname";  // Hostname, hostname, both
  bool dashes_in_model = false;
  std::int64_t xid_window_ms = 300'000;
  std::int64_t clock_window_ms = 300'000;
  std::string web_config;     // "": plain HTTP, no passwords
  std::string job_directory;  // "": none
  bool ignore_unknown = false;
  bool operator==(const ExporterOptions&) const = default;
};

}  // namespace kerf::config

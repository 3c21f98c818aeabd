#include "cli/exporter_command.h"

#include "config/flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> translated(std::vector<std::string> args,
                                    std::vector<std::string>* notes = nullptr) {
  std::vector<std::string> own;
  auto out = exporter_arguments(args, notes == nullptr ? own : *notes);
  EXPECT_TRUE(out) << out.error().text();
  return out.value_or(std::vector<std::string>{});
}

// Metrics contract §1.5: every flag with its letter, and what it becomes.
TEST(ExporterFlags, MeanTheSameAsThoseOfTheOriginal) {
  struct Row {
    std::vector<std::string> args;
    std::string becomes;
  };
  for (const Row& row : {
           Row{{"-f", "x.csv"}, "--exporter-collectors=x.csv"},
           Row{{"--collectors=x.csv"}, "--exporter-collectors=x.csv"},
           Row{{"-a", ":9401"}, "--exporter-address=:9401"},
           Row{{"-c", "1000"}, "--exporter-collect-interval=1000"},
           Row{{"-k"}, "--exporter-kubernetes=true"},
           Row{{"--kubernetes=false"}, "--exporter-kubernetes=false"},
           Row{{"--kubernetes-enable-pod-labels"}, "--exporter-kubernetes-enable-pod-labels=true"},
           Row{{"--kubernetes-enable-pod-uid"}, "--exporter-kubernetes-enable-pod-uid=true"},
           Row{{"--kubernetes-pod-label-allowlist-regex", "^a,^b"},
               "--exporter-kubernetes-pod-label-allowlist-regex=^a,^b"},
           Row{{"-o"}, "--exporter-use-old-namespace=true"},
           Row{{"-m", "a:b"}, "--exporter-configmap-data=a:b"},
           Row{{"-d", "g:0,2-3"}, "--exporter-devices=g:0,2-3"},
           Row{{"-n"}, "--exporter-no-hostname=true"},
           Row{{"--web-config-file", "w"}, "--exporter-web-config-file=w"},
           Row{{"-x", "5"}, "--exporter-xid-count-window-size=5"},
           Row{{"--clock-events-count-window-size=5"},
               "--exporter-clock-events-count-window-size=5"},
           Row{{"--replace-blanks-in-model-name"}, "--exporter-replace-blanks-in-model-name=true"},
           Row{{"--debug"}, "--log-level=debug"},
           Row{{"--log-format", "text"}, "--log-format=logfmt"},
           Row{{"--log-format=json"}, "--log-format=json"},
           Row{{"--pod-resources-kubelet-socket=/s"}, "--pod-resources-socket=/s"},
           Row{{"--hpc-job-mapping-dir", "/j"}, "--exporter-hpc-job-mapping-dir=/j"},
           Row{{"--kubernetes-virtual-gpus"}, "--exporter-kubernetes-virtual-gpus=true"},
       }) {
    EXPECT_THAT(translated(row.args), ElementsAre(row.becomes)) << row.args[0];
    EXPECT_TRUE(config::parse_arguments(translated(row.args))) << row.args[0];
  }
}

TEST(ExporterFlags, AreAcceptedWithAReasonWhereTheyCannotMeanAnything) {
  for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{
           {"-r", "localhost:5555"},
           {"-p", "f"},
           {"-s", "f"},
           {"--fake-gpus"},
           {"--enable-dcgm-log"},
           {"--dcgm-log-level", "NONE"},
           {"--kubernetes-gpu-id-type", "uid"},
           {"--nvidia-resource-names", "a.com/b"},
           {"--kubernetes-enable-dra"},
           {"--web-systemd-socket"},
           {"--disable-startup-validate"},
           {"--dump-enabled"},
           {"--dump-directory", "/d"},
           {"--dump-retention", "1"},
           {"--dump-compression"},
           {"--enable-gpu-bind-unbind-watch"},
           {"--gpu-bind-unbind-poll-interval", "1s"},
           {"--enable-pprof"},
       }) {
    std::vector<std::string> notes;
    EXPECT_TRUE(translated(args, &notes).empty()) << args[0];
    ASSERT_EQ(notes.size(), 1U) << args[0];
    EXPECT_THAT(notes[0], HasSubstr(" has no effect: ")) << args[0];
  }
}

TEST(ExporterFlags, OfTheAgentPassThroughAndMistakesAreTold) {
  EXPECT_THAT(translated({"--nvml-library", "/l", "--root=/r"}),
              ElementsAre("--nvml-library", "/l", "--root=/r"));
  std::vector<std::string> notes;
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"word"}, {"-f"}, {"---f"}}) {
    EXPECT_FALSE(exporter_arguments(args, notes)) << args[0];
  }
  EXPECT_FALSE(config::parse_arguments(translated({"--colectors=x"})));
}

}  // namespace
}  // namespace kerf::cli

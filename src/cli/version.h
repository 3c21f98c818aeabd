// What this build calls itself.
#pragma once

#include <string>
#include <string_view>

namespace kerf::cli {

inline constexpr std::string_view kVersion = KERF_VERSION;
// The versions of NVIDIA's k8s-device-plugin whose configuration, flags and answers are kept.
inline constexpr std::string_view kCompatibility = "v0.17.2 ... v0.20.0";

// "kerf 0.1.0\ncompatible with k8s-device-plugin v0.17.2 ... v0.20.0\n"
inline std::string version_text() {
  return "kerf " + std::string(kVersion) + "\ncompatible with k8s-device-plugin " +
         std::string(kCompatibility) + "\n";
}

}  // namespace kerf::cli

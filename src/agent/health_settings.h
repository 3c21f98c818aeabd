// From the configuration to what health is judged by, and where that is kept. Pure.
#pragma once

#include <string>

#include "base/roots.h"
#include "config/types.h"
#include "health/settings.h"

namespace kerf::agent {

health::Settings health_settings(const config::Config& config);

// For health::WatcherOptions::state_directory; "" for nowhere.
std::string state_directory(const config::ProcessOptions& process, const Roots& roots);

}  // namespace kerf::agent

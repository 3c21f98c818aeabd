// From the configuration to what health is judged by. Pure.
#pragma once

#include "config/types.h"
#include "health/settings.h"

namespace kerf::agent {

health::Settings health_settings(const config::Config& config);

}  // namespace kerf::agent

// What XIDs mean, in a few words. Source: NVIDIA's catalogue of XID errors; metrics contract §1.1.
#pragma once

#include <cstdint>
#include <string_view>

namespace kerf::exporter {

// "Unknown Error" for a number that is not in the catalogue.
std::string_view xid_text(std::int64_t xid);

}  // namespace kerf::exporter

#include <bit>
#include <cmath>

#include "exporter/types.h"

namespace kerf::exporter {

Value Value::real(double number) {
  Value out;
  if (!std::isfinite(number)) return out;
  out.kind_ = Kind::kReal;
  out.real_ = number;
  return out;
}

bool Value::operator==(const Value& other) const {
  if (kind_ != other.kind_) return false;
  if (kind_ == Kind::kReal) {
    return std::bit_cast<std::uint64_t>(real_) == std::bit_cast<std::uint64_t>(other.real_);
  }
  return kind_ == Kind::kBlank || integer_ == other.integer_;
}

}  // namespace kerf::exporter

// The result of anything that can fail, and the error it carries. Errors are values: they cross the
// doors between rooms, exceptions do not.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

namespace kerf {

// What sort of failure it is, so that callers can decide without reading text.
enum class Kind {
  kInvalid,      // the input is wrong; trying again cannot help
  kNotFound,     // the thing asked for is not there
  kDenied,       // permission is missing
  kBusy,         // somebody else holds it
  kTimeout,      // no answer within the deadline
  kUnsupported,  // the hardware, driver or peer cannot do it
  kGone,         // it was there and is lost (GPU fell off, driver unloaded, peer vanished)
  kCorrupt,      // data that should be well-formed is not
  kConflict,     // it contradicts something else
  kInternal,     // a defect of ours or of the system below
};

std::string_view to_string(Kind kind);

// What failed, on what, and what to do about it. Any thread; a plain value.
struct Error {
  Kind kind = Kind::kInternal;
  std::string what;     // "cannot bind socket": no trailing period, lower case
  std::string subject;  // the file, field, device or peer concerned; may be empty
  std::string hint;     // the remedy, addressed to the person reading; may be empty
  int native = 0;       // errno or nvmlReturn_t where one exists, else 0

  // Puts what was being done in front: "reading config: cannot open file".
  Error& during(std::string_view doing) &;
  Error&& during(std::string_view doing) &&;
  // One line for people: "what: subject (hint)".
  std::string text() const;
};

template <typename T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

using Unexpected = tl::unexpected<Error>;

inline Unexpected fail(Kind kind, std::string what, std::string subject = {}, std::string hint = {},
                       int native = 0) {
  return Unexpected(Error{kind, std::move(what), std::move(subject), std::move(hint), native});
}

inline Unexpected fail(Error error) { return Unexpected(std::move(error)); }

// An error made from errno: kind by value, "what: strerror" as text.
Unexpected fail_errno(std::string_view what, std::string subject, int error_number,
                      std::string hint = {});

}  // namespace kerf

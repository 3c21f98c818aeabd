#include "base/result.h"

#include <cerrno>
#include <system_error>

namespace kerf {

std::string_view to_string(Kind kind) {
  switch (kind) {
    case Kind::kInvalid:
      return "invalid";
    case Kind::kNotFound:
      return "not found";
    case Kind::kDenied:
      return "denied";
    case Kind::kBusy:
      return "busy";
    case Kind::kTimeout:
      return "timeout";
    case Kind::kUnsupported:
      return "unsupported";
    case Kind::kGone:
      return "gone";
    case Kind::kCorrupt:
      return "corrupt";
    case Kind::kConflict:
      return "conflict";
    case Kind::kInternal:
      return "internal";
  }
  return "internal";
}

Error& Error::during(std::string_view doing) & {
  what = std::string(doing) + ": " + what;
  return *this;
}

Error&& Error::during(std::string_view doing) && { return std::move(during(doing)); }

std::string Error::text() const {
  std::string out = what;
  if (!subject.empty()) out += ": " + subject;
  if (!hint.empty()) out += " (" + hint + ")";
  return out;
}

namespace {

Kind kind_of(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return Kind::kNotFound;
    case EACCES:
    case EPERM:
    case EROFS:
      return Kind::kDenied;
    case EBUSY:
    case EADDRINUSE:
      return Kind::kBusy;
    case ETIMEDOUT:
      return Kind::kTimeout;
    case ENAMETOOLONG:
    case EINVAL:
    case EISDIR:
      return Kind::kInvalid;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
      return Kind::kGone;
    default:
      return Kind::kInternal;
  }
}

}  // namespace

Unexpected fail_errno(std::string_view what, std::string subject, int error_number,
                      std::string hint) {
  return fail(kind_of(error_number),
              std::string(what) + ": " + std::generic_category().message(error_number),
              std::move(subject), std::move(hint), error_number);
}

}  // namespace kerf

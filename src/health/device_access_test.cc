#include "health/device_access.h"

#include <cerrno>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::health {
namespace {

using testing::HasSubstr;

Error unknown() {
  Error error;
  error.kind = Kind::kInternal;
  error.what = "nvmlInit_v2: unknown error";
  error.native = 999;
  return error;
}

TEST(DeviceAccess, TakenByTheDeviceCgroupIsNamedWithItsRemedy) {
  std::string asked;
  Error said = explain_access(unknown(), Roots::below("/node"), [&](const std::string& path) {
    asked = path;
    return EPERM;
  });
  EXPECT_EQ(asked, Roots::below("/node").dev + "/nvidiactl");
  EXPECT_EQ(said.kind, Kind::kDenied);
  EXPECT_EQ(said.native, 999);
  EXPECT_THAT(said.text(), HasSubstr("no longer allowed to open"));
  EXPECT_THAT(said.text(), HasSubstr("nvmlInit_v2: unknown error"));
  EXPECT_THAT(said.text(), HasSubstr("restart this pod"));
  EXPECT_THAT(said.text(), HasSubstr("passDeviceSpecs"));
}

TEST(DeviceAccess, ThatIsThereOrMissingForOtherReasonsChangesNothing) {
  for (int code : {0, ENOENT, EACCES, ENXIO, EIO, ENODEV}) {
    Error said =
        explain_access(unknown(), Roots::below("/"), [&](const std::string&) { return code; });
    EXPECT_EQ(said.text(), unknown().text()) << code;
  }
  EXPECT_EQ(explain_access(unknown(), Roots::below("/nowhere")).text(), unknown().text());
}

}  // namespace
}  // namespace kerf::health

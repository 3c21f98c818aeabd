#include "nvml/library.h"

#include <filesystem>
#include <fstream>

#include "nvml/errors.h"
#include "nvml/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::nvml {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::string odd(const std::string& name) {
  return std::string(KERF_ODD_DRIVERS) + "/odd_" + name + ".so";
}

struct Opened {
  std::shared_ptr<CallCounters> counters = std::make_shared<CallCounters>();
  Result<std::shared_ptr<const Session>> session = fail(Kind::kInternal, "not opened");

  explicit Opened(const std::string& name) {
    std::vector<std::string> candidates = {odd(name)};
    auto library = Library::open(candidates);
    if (!library) {
      session = fail(std::move(library.error()));
      return;
    }
    session = Session::open(std::move(*library), counters);
  }
};

TEST(LibraryCandidates, AreTheExactPathAloneWhenOneIsGiven) {
  EXPECT_THAT(library_candidates("/opt/nvml.so", "/driver-root"), ElementsAre("/opt/nvml.so"));
}

TEST(LibraryCandidates, AreTheUsualDirectoriesUnderTheDriverRootThenTheSoname) {
  EXPECT_THAT(
      library_candidates("", "/driver-root"),
      ElementsAre("/driver-root/usr/lib64/libnvidia-ml.so.1",
                  "/driver-root/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
                  "/driver-root/usr/lib/aarch64-linux-gnu/libnvidia-ml.so.1",
                  "/driver-root/lib64/libnvidia-ml.so.1",
                  "/driver-root/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
                  "/driver-root/lib/aarch64-linux-gnu/libnvidia-ml.so.1", "libnvidia-ml.so.1"));
}

TEST(LibraryCandidates, BeginWithTheSonameWhenTheDriverRootIsTheHost) {
  for (const char* root : {"", "/"}) {
    auto candidates = library_candidates("", root);
    ASSERT_EQ(candidates.size(), 7U);
    EXPECT_EQ(candidates[0], "libnvidia-ml.so.1");
    EXPECT_EQ(candidates[1], "/usr/lib64/libnvidia-ml.so.1");
  }
}

TEST(Library, NamesEveryPathItTriedAndWhyItFailed) {
  namespace fs = std::filesystem;
  std::string pattern = (fs::temp_directory_path() / "kerf-nvml-XXXXXX").string();
  fs::path directory = mkdtemp(pattern.data());
  std::ofstream(directory / "text.so") << "this is not a shared object, only text of some length\n";
  std::ofstream(directory / "empty.so");
  std::vector<std::string> candidates = {directory / "missing.so", directory / "text.so",
                                         directory / "empty.so", directory, odd("not_nvml")};

  auto library = Library::open(candidates);

  ASSERT_FALSE(library.has_value());
  EXPECT_EQ(library.error().kind, Kind::kNotFound);
  EXPECT_THAT(library.error().hint,
              AllOf(HasSubstr("missing.so: cannot open shared object file: No such file"),
                    HasSubstr("text.so: "), HasSubstr("empty.so: file too short"),
                    HasSubstr("no nvmlInit_v2 in it")));
  fs::remove_all(directory);
}

TEST(Library, TakesTheFirstCandidateThatWorks) {
  std::vector<std::string> candidates = {"/nonexistent/libnvidia-ml.so.1", odd("not_nvml"),
                                         odd("garbage")};
  auto library = Library::open(candidates);
  ASSERT_TRUE(library.has_value()) << library.error().text();
  EXPECT_EQ((*library)->path(), odd("garbage"));
}

TEST(LibraryCache, KeepsALibraryUntilItsFileChangesOrABetterOneAppears) {
  namespace fs = std::filesystem;
  std::string pattern = (fs::temp_directory_path() / "kerf-nvml-XXXXXX").string();
  fs::path directory = mkdtemp(pattern.data());
  fs::path better = directory / "better.so";
  fs::path place = directory / "libnvidia-ml.so.1";
  fs::copy_file(odd("garbage"), directory / "first.so");
  fs::create_symlink("first.so", place);
  std::vector<std::string> candidates = {better, place};
  LibraryCache cache;
  auto first = cache.open(candidates).value();
  EXPECT_EQ(first->path(), directory / "first.so");
  EXPECT_EQ(cache.open(candidates).value(), first);

  fs::copy_file(odd("not_loaded"), directory / "second.so");
  fs::remove(place);
  fs::create_symlink("second.so", place);
  auto second = cache.open(candidates).value();
  EXPECT_EQ(second->path(), directory / "second.so");

  fs::copy_file(odd("mismatch"), better);
  EXPECT_EQ(cache.open(candidates).value()->path(), better);
  cache.forget();
  fs::remove(better);
  fs::remove(place);
  EXPECT_FALSE(cache.open(candidates).has_value());
  fs::remove_all(directory);
}

TEST(Session, ReportsMissingSymbolsAsUnsupported) {
  Opened odd_driver("missing_symbols");
  ASSERT_TRUE(odd_driver.session.has_value()) << odd_driver.session.error().text();
  EXPECT_EQ((*odd_driver.session)->gpu_count().value(), 1U);
  auto version = (*odd_driver.session)->driver_version();
  ASSERT_FALSE(version.has_value());
  EXPECT_EQ(version.error().kind, Kind::kUnsupported);
  EXPECT_EQ(version.error().native, abi::kErrorFunctionNotFound);
  EXPECT_EQ(odd_driver.counters->read().errors.at("function_not_found"), 1U);
}

TEST(Session, DoesNotBelieveGarbage) {
  Opened odd_driver("garbage");
  ASSERT_TRUE(odd_driver.session.has_value()) << odd_driver.session.error().text();
  const Session& session = **odd_driver.session;
  EXPECT_EQ(session.driver_version().error().kind, Kind::kCorrupt);
  EXPECT_EQ(session.uuid(nullptr).error().kind, Kind::kCorrupt);
  EXPECT_EQ(session.name(nullptr).error().kind, Kind::kCorrupt);
  EXPECT_EQ(session.pci(nullptr).error().kind, Kind::kCorrupt);
  EXPECT_EQ(session.gpu_count().error().kind, Kind::kCorrupt);
  EXPECT_EQ(session.mig_slots(nullptr).error().kind, Kind::kCorrupt);
  EXPECT_EQ(session.minor(nullptr).error().native, 4711);
  EXPECT_EQ(odd_driver.counters->read().errors.at("other"), 1U);
}

TEST(Session, SaysWhatToDoWhenTheDriverIsNotLoaded) {
  Opened odd_driver("not_loaded");
  ASSERT_FALSE(odd_driver.session.has_value());
  EXPECT_EQ(odd_driver.session.error().native, abi::kErrorDriverNotLoaded);
  EXPECT_THAT(odd_driver.session.error().text(), HasSubstr("kernel module loaded?"));
  EXPECT_EQ(odd_driver.counters->read().errors.at("driver_not_loaded"), 1U);
}

TEST(Session, SaysWhatToDoWhenDriverAndLibraryDisagree) {
  Opened odd_driver("mismatch");
  ASSERT_FALSE(odd_driver.session.has_value());
  EXPECT_EQ(odd_driver.session.error().kind, Kind::kConflict);
  EXPECT_THAT(odd_driver.session.error().text(), HasSubstr("upgraded under a running process"));
}

TEST(Errors, EveryCodeHasANameAndUnknownOnesKeepTheirNumber) {
  EXPECT_EQ(return_name(0), "success");
  EXPECT_EQ(return_name(15), "gpu_is_lost");
  EXPECT_EQ(return_name(30), "reset_type_not_supported");
  EXPECT_EQ(return_name(999), "unknown");
  EXPECT_EQ(return_name(4711), "code_4711");
  EXPECT_EQ(error_for(3, "nvmlX").kind, Kind::kUnsupported);
  EXPECT_EQ(error_for(4, "nvmlX").kind, Kind::kDenied);
  EXPECT_EQ(error_for(15, "nvmlX", "GPU-1").text().substr(0, 8), "nvmlX: t");
}

}  // namespace
}  // namespace kerf::nvml

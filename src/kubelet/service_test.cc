// What needs no kubelet; the rest is tested over real sockets in tests/wire.
#include "kubelet/service.h"

#include <gtest/gtest.h>

namespace kerf::kubelet {
namespace {

TEST(SocketNames, AreThoseOfNvidiasPlugin) {
  EXPECT_EQ(socket_name("nvidia.com/gpu"), "nvidia-gpu.sock");
  EXPECT_EQ(socket_name("nvidia.com/gpu.shared"), "nvidia-gpu.shared.sock");
  EXPECT_EQ(socket_name("nvidia.com/mig-1g.5gb"), "nvidia-mig-1g.5gb.sock");
}

TEST(Histograms, PutDurationsIntoTheFirstBucketThatHoldsThem) {
  Histogram histogram;
  histogram.observe(std::chrono::microseconds(10));
  histogram.observe(std::chrono::microseconds(11));
  histogram.observe(std::chrono::seconds(2));
  EXPECT_EQ(histogram.count(0), 1u);
  EXPECT_EQ(histogram.count(1), 1u);
  EXPECT_EQ(histogram.count(Histogram::kBounds.size()), 1u);
  EXPECT_EQ(histogram.total(), 3u);
  EXPECT_NEAR(histogram.sum(), 2.000021, 1e-9);
}

TEST(ServiceStatus, IsOkOnlyWhenEveryResourceIsServedAndRegistered) {
  Service::ServiceStatus status;
  status.kubelet_socket = "k";
  EXPECT_TRUE(status.ok());
  Service::ResourceStatus one;
  one.bound = one.registered = true;
  status.resources.push_back(one);
  EXPECT_TRUE(status.ok());
  one.registered = false;
  status.resources.push_back(one);
  EXPECT_FALSE(status.ok());
  status.kubelet_socket.clear();
  EXPECT_TRUE(status.ok());
}

}  // namespace
}  // namespace kerf::kubelet

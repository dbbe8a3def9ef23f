// A client of Warren written from schema/warren.capnp and docs/protocol.md alone.
//
//     client SOCKET NAME COMMAND...
//
// Creates a service of one replica, waits until it is healthy, scales it to two, removes it, and
// waits until it is gone. Prints a line for each step.

#include <cstdint>
#include <iostream>
#include <string>

#include <capnp/ez-rpc.h>
#include <kj/exception.h>
#include <kj/string.h>

#include "warren.capnp.h"

namespace {

void say(const std::string& line) { std::cout << line << std::endl; }

// Waits for an event after `seq`; gives the greatest there is.
int64_t nextEvent(Cluster::Client& cluster, int64_t seq, kj::WaitScope& scope) {
  auto request = cluster.eventsRequest();
  request.setAfter(seq);
  request.setWait(true);
  auto response = request.send().wait(scope);
  for (auto event : response.getEvents()) {
    if (event.getSeq() > seq) seq = event.getSeq();
  }
  return seq;
}

int64_t waitHealthy(Cluster::Client& cluster, kj::StringPtr name, int64_t seq,
                    kj::WaitScope& scope) {
  for (;;) {
    auto request = cluster.serviceRequest();
    request.setName(name);
    auto response = request.send().wait(scope);
    auto service = response.getService();
    int ready = 0;
    for (auto task : service.getTasks()) ready += task.getStatus().getReady();
    if (ready == service.getSpec().getReplicas()) return seq;
    seq = nextEvent(cluster, seq, scope);
  }
}

bool isGone(Cluster::Client& cluster, kj::StringPtr name, kj::WaitScope& scope) {
  auto request = cluster.serviceRequest();
  request.setName(name);
  auto failure = kj::runCatchingExceptions([&]() { request.send().wait(scope); });
  KJ_IF_MAYBE (exception, failure) {
    std::string said = exception->getDescription().cStr();
    if (said.find("not-found: ") != std::string::npos) return true;
    kj::throwFatalException(kj::mv(*exception));
  }
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "usage: client SOCKET NAME COMMAND..." << std::endl;
    return 2;
  }
  capnp::EzRpcClient client(kj::str("unix:", argv[1]));
  auto& scope = client.getWaitScope();
  kj::StringPtr name = argv[2];

  auto gate = client.getMain<Gate>();
  auto cluster = gate.loginRequest().send().wait(scope).getCluster();
  say("logged in");
  int64_t seq = cluster.lastEventRequest().send().wait(scope).getSeq();

  auto create = cluster.createRequest();
  auto spec = create.initSpec();
  spec.setName(name);
  auto command = spec.initCommand(argc - 3);
  for (int i = 3; i < argc; i++) command.set(i - 3, argv[i]);
  create.send().wait(scope);
  say("created");
  seq = waitHealthy(cluster, name, seq, scope);
  say("healthy: 1");

  auto scale = cluster.scaleRequest();
  scale.setName(name);
  scale.setReplicas(2);
  scale.send().wait(scope);
  say("scaled");
  seq = waitHealthy(cluster, name, seq, scope);
  say("healthy: 2");

  auto remove = cluster.removeRequest();
  remove.setName(name);
  remove.send().wait(scope);
  say("removed");
  while (!isGone(cluster, name, scope)) seq = nextEvent(cluster, seq, scope);
  say("gone");
}

@0xdfe90e92bb388d19;
# Warren's wire: between supervisors, the manager, and any other client. How to connect,
# errors, long polls and limits are in docs/protocol.md.
#
# Ordinals are append-only: a field, an enumerant or a method, once added, stays with its number and
# its type; what is new gets the next number, and a reader of an older message sees its default.
# tests/transport/ordinals.txt records them, and a test checks it.
#
# Conventions
#   Durations are seconds; "wall" is wall time in seconds since 1970-01-01 UTC.
#   Text is UTF-8. A Text, list or struct marked "null: ..." may be left out (a null pointer).
#   A union whose first member is `unset` is a value that may be missing.
#   Defaults here are Warren's defaults: a field that is not set has them.
#   Lists that stand for mappings (env, headers, ports) keep their order; a name stands once, but
#   that a header may be given several times.

# ---- Names ----

struct TaskId {
  # One attempt to fill a slot of a service. Written `web.2#7`.
  service @0 :Text;
  slot @1 :Int64;    # from 1
  number @2 :Int64;  # from 1, counting up through all tasks of the slot
}

struct Pair {
  name @0 :Text;
  value @1 :Text;    # null where it is hidden
  hidden @2 :Bool;   # a value that a view does not show; refused in a requested spec
}

struct NamedPort {
  name @0 :Text;    # as a service is named: [a-z]([a-z0-9-]{0,61}[a-z0-9])?
  number @1 :Int32; # 1 to 65535; in a spec 0 is any free one
}

# ---- What a user asks for ----

struct ServiceSpec {
  name @0 :Text;                # [a-z]([a-z0-9-]{0,61}[a-z0-9])?
  command @1 :List(Text);       # argv, no shell; in place of an image's ENTRYPOINT; null: its own
  image @2 :Text;               # null: a process on the node; then there must be a command
  replicas @3 :Int32 = 1;       # 0 to 10,000
  env @4 :List(Pair);
  user @5 :Text;                # null: the supervisor's own
  cwd @6 :Text;                 # null: /, or the image's own
  ports @7 :List(NamedPort);    # the node's; where the instance has its own address, of that, not 0
  health @8 :HealthCheck;       # the flat form: liveness that also gates readiness; null: none
  startup @9 :HealthCheck;      # null: none, here and below; not beside `health`
  liveness @10 :HealthCheck;
  readiness @11 :HealthCheck;
  restart @12 :Restart;
  stop @13 :Stop;
  resources @14 :Resources;
  newPrivileges @15 :Bool;      # of programs with a `user`: set-uid programs and file capabilities
  address @16 :Text = "127.0.0.1"; # where it listens and its checks ask: of IPv4 or IPv6
  args @17 :List(Text);         # in place of an image's CMD; null: its own, or none with `command`
  # From here on, but for `labels` and `runtime`: of containers, refused without an image.
  mounts @18 :List(Mount);
  readOnly @19 :Bool;           # the root file system
  capAdd @20 :List(Text);       # such as NET_ADMIN, with or without CAP_; or ALL
  capDrop @21 :List(Text);
  ulimits @22 :List(NamedUlimit);
  network @23 :Text;            # host, none, or a network's name; null: the engine's own
  labels @24 :List(Pair);       # `hidden` is refused
  pull @25 :Pull = missing;
  runtime @26 :Text;            # process, docker, podman, oci, containerd; null: any that can
  imageHealth @27 :Bool = true; # an image's own HEALTHCHECK is asked where there is no probe
}

struct HealthCheck {
  # A probe: a question, and the numbers that make its answers a verdict.
  union {
    unset @0 :Void;             # refused: one of the others must be set
    http @1 :HttpCheck;
    tcp @2 :TcpCheck;
    exec @3 :ExecCheck;
  }
  interval @4 :Float64 = 30;    # from one attempt to the next; at least 0.01
  timeout @5 :Float64 = 10;     # of one attempt; above 0
  retries @6 :Int32 = 3;        # fails in a row that make it unhealthy; at least 1
  successes @7 :Int32 = 1;      # passes in a row that make it healthy; 1 but for readiness
  startPeriod @8 :Float64 = 0;  # since the start: until the first pass fails do not count
  initialDelay @9 :Float64 = 0; # since the start: no attempt before
  fastInterval :union {         # from one attempt to the next until the first pass
    unset @10 :Void;            # the smaller of `interval` and 1
    value @11 :Float64;         # at least 0.01
  }
}

struct HttpCheck {
  # GET `path` and judge the status; redirects are not followed.
  path @0 :Text = "/";          # with its query, percent-encoded
  port :union {
    only @1 :Void;              # the only port of the service
    number @2 :Int32;
    name @3 :Text;              # one of the service's ports
  }
  scheme @4 :Scheme = http;
  headers @5 :List(Pair);       # an empty value removes a default header
  status :group {               # what passes, both ends included, within 100 to 599
    low @6 :Int32 = 200;
    high @7 :Int32 = 399;
  }
  verify @8 :Bool = false;      # check an https server's certificate
  host @9 :Text;                # a name or an address to ask; null: the instance's address
}

enum Scheme {
  http @0;
  https @1;
}

struct TcpCheck {
  # Connect and close; nothing is sent.
  port :union {
    only @0 :Void;
    number @1 :Int32;
    name @2 :Text;
  }
  host @3 :Text;                # as in HttpCheck
}

struct ExecCheck {
  # Run a command in the task's own context; exit 0 passes.
  command @0 :List(Text);       # argv, no shell
}

struct Restart {
  condition @0 :Condition = always;
  maxAttempts @1 :Int32 = 5;    # within `window`; then the task is failed and replaced
  window @2 :Float64 = 300;
  delay @3 :Float64 = 1;        # before the second restart, doubled for each further one
  maxDelay @4 :Float64 = 60;
  resetAfter @5 :Float64 = 60;  # ready for so long is good running
}

enum Condition {
  always @0;
  onFailure @1;
  never @2;
}

struct Stop {
  signal @0 :Text = "TERM";     # without SIG
  grace @1 :Float64 = 10;       # from the signal to the kill
  failureGrace :union {         # the same after a failed probe
    unset @2 :Void;             # as `grace`
    value @3 :Float64;
  }
}

struct Resources {
  # Limits of one instance with all it starts, its exec checks too.
  memory :union {
    unset @0 :Void;
    bytes @1 :Int64;            # at least 6 MiB
    text @2 :Text;              # such as 512M; powers of 1024
  }
  cpu :union {
    unset @3 :Void;
    value @4 :Float64;          # cores, from 0.01
  }
  pids :union {
    unset @5 :Void;
    value @6 :Int64;            # processes and threads, from 1
  }
}

struct Mount {
  # What a container sees of what is outside it.
  type @0 :MountType;
  source @1 :Text;              # a path of the node, or a volume's name; null for tmpfs
  target @2 :Text;              # the absolute path in the container; each once in a spec
  readOnly @3 :Bool;
  size :union {                 # the most bytes of a tmpfs
    unset @4 :Void;
    bytes @5 :Int64;
  }
}

enum MountType {
  bind @0;                      # a file or directory of the node
  volume @1;                    # the engine's, made where there is none and never removed
  tmpfs @2;                     # memory, empty at the start
}

struct NamedUlimit {
  name @0 :Text;                # such as nofile
  soft @1 :Int64;               # -1: no limit
  hard @2 :Int64;
}

enum Pull {
  # When an image is fetched from its registry.
  missing @0;                   # where the node does not have it
  always @1;                    # before every start
  never @2;
}

# ---- What is reported ----

enum Phase {
  # It only grows. `complete` to `stopped` are ends.
  pending @0;
  assigned @1;
  starting @2;
  running @3;
  stopping @4;
  complete @5;
  failed @6;
  crashed @7;
  stopped @8;
  unknown @9;                   # no end; the node's is of a later version than the manager
}

enum ProbeKind {
  startup @0;
  liveness @1;
  readiness @2;
  unknown @3;                   # one of a later version, here and below
}

enum Verdict {
  unknown @0;                   # startup's before its verdict; or nothing runs
  healthy @1;
  unhealthy @2;
}

enum Result {
  pass @0;
  fail @1;                      # the service is at fault
  error @2;                     # the check could not run; counts for nothing
  unknown @3;
}

struct Outcome {
  # The answer to one attempt.
  result @0 :Result;
  detail @1 :Text;              # for people, at most 4 KiB
  duration @2 :Float64;
  waited @3 :Float64;           # for a place, before the attempt began
}

struct Sample {
  at @0 :Float64;               # wall
  outcome @1 :Outcome;
}

struct ProbeHealth {
  # Where one probe of a task stands.
  kind @0 :ProbeKind;
  verdict @1 :Verdict;
  consecutiveFailures @2 :Int64;
  consecutiveSuccesses @3 :Int64;
  warning @4 :Text;             # the check itself does not work; null: it does
  last @5 :Sample;              # null: no attempt yet
  waited @6 :Float64;           # seconds its present attempt has waited for a place; 0: it does not
  longestWait @7 :Float64;      # seconds, of this instance
}

struct ProbeSamples {
  # The kept outcomes of one probe, oldest first.
  kind @0 :ProbeKind;
  samples @1 :List(Sample);
}

enum Reason {
  exited @0;
  signaled @1;
  outOfMemory @2;
  probeFailed @3;
  startFailed @4;
  stopAsked @5;
  lost @6;
  rebooted @7;
  bug @8;
  unknown @9;
}

struct End {
  # How one instance ended.
  reason @0 :Reason;
  message @1 :Text;             # a sentence for people
  at @2 :Float64;               # wall
  exitCode :union {
    unset @3 :Void;             # a signal ended it, or it is unknown
    value @4 :Int32;
  }
  signal @5 :Text;              # such as SIGKILL; null: none
  memory @6 :MemoryKill;        # null: it did not run out of memory
}

struct MemoryKill {
  # What the kernel has killed for memory.
  killed @0 :Int64;             # processes
  limitBytes :union {           # of the instance
    unset @1 :Void;             # it had none: the machine had no more
    value @2 :Int64;
  }
  peakBytes :union {            # the most that the instance had
    unset @3 :Void;             # not kept by this kernel
    value @4 :Int64;
  }
}

struct Usage {
  # What an instance, with all it started, uses. What is not set its node cannot tell.
  memoryUsed :union {           # bytes, now
    unset @0 :Void;
    value @1 :Int64;
  }
  memoryPeak :union {           # bytes, the most so far
    unset @2 :Void;
    value @3 :Int64;
  }
  cpuSeconds :union {           # of all cores, so far
    unset @4 :Void;
    value @5 :Float64;
  }
  throttledSeconds :union {     # for which its limit of cpu kept it waiting
    unset @6 :Void;
    value @7 :Float64;
  }
  processes :union {            # and threads, now
    unset @8 :Void;
    value @9 :Int64;
  }
  processesRefused :union {     # how often its limit of pids was in the way of another
    unset @10 :Void;
    value @11 :Int64;
  }
}

struct TaskUsage {
  task @0 :TaskId;
  usage @1 :Usage;
}

struct Instance {
  # One start of a task.
  id @0 :Text;
  task @1 :TaskId;
  pid :union {
    unset @2 :Void;
    value @3 :Int64;
  }
  startedAt @4 :Float64;        # wall
  address @5 :Text = "127.0.0.1";
  ports @6 :List(NamedPort);
  handle @7 :List(Pair);        # the runtime's own
  runtime @8 :Text = "process"; # the name of the runtime that has it
}

struct TaskStatus {
  # A task as its node reports it: `phase` grows, of the rest the greater `sequence` counts.
  id @0 :TaskId;
  phase @1 :Phase;
  sequence @2 :Int64;
  ready @3 :Bool;
  restarts @4 :Int64;
  failedBefore @5 :Int64;       # tasks that failed in this slot before, without good running since
  instance @6 :Instance;        # null: never started
  lastEnd @7 :End;              # null: no instance has ended
  pendingReason @8 :Text;       # null: not pending
  restartAt :union {            # wall; when a restart is due
    unset @9 :Void;
    value @10 :Float64;
  }
  probes @11 :List(ProbeHealth);
  revision @12 :Int64;          # of the spec it runs by, as assigned; 0: its node has none
  isProving @13 :Bool;          # probes it was given while it ran have no verdict yet
}

enum EventKind {
  # What happened to a task, as its node tells, to a service or to a node.
  pending @0;
  started @1;
  adopted @2;
  ready @3;                     # a task is, or a node is back
  unready @4;
  probeWarning @5;
  probeFailed @6;
  stopping @7;
  ended @8;
  restarting @9;
  finished @10;
  probesChanged @11;            # sent only where `Assignment.revision` is
  unknown @12;                  # one of a later version
  placed @13;                   # a task, from here on as the manager tells
  replaced @14;
  created @15;                  # a service, here and below
  updated @16;
  scaled @17;
  restarted @18;
  removing @19;
  removed @20;                  # or a node
  joined @21;                   # a node, here and below
  lost @22;
  stopped @23;
}

struct EventFacts {
  # What an event tells beside its subject. What is not set does not apply, or the event is of an
  # earlier version.
  node @0 :Text;                # where it happened; null: not set
  pid :union {
    unset @1 :Void;
    value @2 :Int64;
  }
  probes @3 :List(ProbeKind);   # that failed, or are still to be proved
  reason :union {               # why the instance ended, or that of the task that is replaced
    unset @4 :Void;
    value @5 :Reason;
  }
  exitCode :union {             # how it ended
    unset @6 :Void;
    value @7 :Int32;
  }
  signal @8 :Text;              # such as SIGKILL; null: none
  phase :union {                # the end of the task, or of the one that is replaced
    unset @9 :Void;
    value @10 :Phase;
  }
  restarts :union {             # of the task, this one included
    unset @11 :Void;
    value @12 :Int64;
  }
  restartIn :union {            # seconds until it, or its successor, starts
    unset @13 :Void;            # at once, or not at all
    value @14 :Float64;
  }
  replaces @15 :TaskId;         # the task that had the slot before; null: none
  changed @16 :List(Text);      # fields of the spec, such as `env.LEVEL`; `env` if many or long
  replicas :union {             # wanted
    unset @17 :Void;
    value @18 :Int64;
  }
  replicasBefore :union {       # wanted before, where an edit has changed that
    unset @19 :Void;
    value @20 :Int64;
  }
  memory @21 :MemoryKill;       # the instance ran out of memory; null: it did not
}

struct TaskEvent {
  at @0 :Float64;               # wall
  task @1 :TaskId;
  kind @2 :EventKind;
  message @3 :Text;             # one line for people
  reason @4 :Text;              # a short word for programs; empty: none
  restartIn :union {            # as `facts.restartIn`, which is what is sent and read
    unset @5 :Void;
    value @6 :Float64;
  }
  facts @7 :EventFacts;         # null: none
  word @8 :Text;                # the kind's, for a manager that does not know it
}

struct Told {
  # An event, with the task's sequence at that moment: a repeated one is kept once.
  sequence @0 :Int64;
  event @1 :TaskEvent;
}

struct Report {
  statuses @0 :List(TaskStatus);  # the latest of each task
  events @1 :List(Told);          # since the last report, oldest first
  isWhole @2 :Bool;               # these are all tasks of the node
}

# ---- What a node receives ----

struct NodeHello {
  name @0 :Text;
  id @1 :Text;                  # the data directory's own
  epoch @2 :Int64;              # as given in an earlier session of this process; 0: the first
  warren @3 :Text;              # version
  manager @4 :Text;             # the id of the manager it belongs to; empty: it has had none
  containment @5 :Text;         # how it keeps what a task starts together; empty: not sent
  description @6 :NodeDescription;  # null: a version that does not announce it; it runs processes
}

struct NodeDescription {
  # What a node is and can do. A feature is a word, such as `memory-limit`, for what not every node
  # does; a task that needs one is placed where it is announced. Unknown words do no harm.
  runtimes @0 :List(RuntimeInfo);  # at most 16, the preferred first; the rest is dropped
  features @1 :List(Text);      # what its supervisor does with any of them; at most 64
  labels @2 :List(Pair);        # its operator's, at most 64
  address @3 :Text;             # where others reach it; empty: where it comes from
  cpus @4 :Float64;             # cores it may use; 0: not known
  memory @5 :Int64;             # bytes it may use; 0: not known
}

struct RuntimeInfo {
  # A way of a node to run tasks.
  name @0 :Text;                # `process`, or another
  version @1 :Text;             # of what it drives; empty: nothing apart
  features @2 :List(Text);      # what it does, also while it is not available; at most 64
  unavailable @3 :Text;         # why it is not available now; empty: it is
  noLimits @4 :Text;            # why it cannot hold the limits that are not among its features
}

enum Desired {
  run @0;
  stop @1;
}

struct Assignment {
  task @0 :TaskId;
  spec @1 :UInt32;              # index into `Assignments.specs`
  desired @2 :Desired = run;
  stopReason @3 :Text;
  lastEnd @4 :End;              # of the slot's task before it; null: none
  failedBefore @5 :Int64;
  revision @6 :Int64;           # of the spec. A task that runs already, by a spec that differs in
                                # its probes alone, gets the new ones and goes on
}

struct Assignments {
  # What a node shall hold at `generation`: everything where `base` is 0, and else the difference
  # to what it accepted at `base`.
  generation @0 :Int64;
  base @1 :Int64;
  specs @2 :List(ServiceSpec);  # each once
  tasks @3 :List(Assignment);   # all, or the new and the changed
  removed @4 :List(TaskId);     # no longer the node's
  services @5 :List(Text);      # with `base` 0: every service there is
  purged @6 :List(Text);        # services that are gone
  kept @7 :List(Text);          # with `base` 0: services to be left as they are, tasks and logs; where
                                # a message has no room for all of their tasks, differences follow
}

# ---- What an operator is shown ----

struct TaskView {
  id @0 :TaskId;
  status @1 :TaskStatus;
  createdAt @2 :Float64;        # wall
  node @3 :Text;                # null: not placed
  desired @4 :Desired = run;
  isStale @5 :Bool;             # the node did not answer; `status` is what was last reported
  isOutdated @6 :Bool;          # of an older spec; will be replaced
  slotRestarts @7 :Int64;       # its own, and those of the tasks that had its slot before
}

struct ServiceView {
  spec @0 :ServiceSpec;
  version @1 :Int64;            # counts every edit
  createdAt @2 :Float64;        # wall
  updatedAt @3 :Float64;        # wall
  isRemoving @4 :Bool;
  tasks @5 :List(TaskView);     # the current one of every slot, in the order of slots
}

struct TaskDetail {
  task @0 :TaskView;
  spec @1 :ServiceSpec;
  samples @2 :List(ProbeSamples);
  usage @3 :Usage;              # of its instance; null: it has none, or its node does not say
}

enum NodeState {
  ready @0;                     # has a session
  unreachable @1;               # has lost it
  down @2;                      # and its lease too
  refusing @3;                  # it belongs to another manager, and takes nothing from this one
  stopped @4;                   # has ended it in order, and its lease goes on
}

struct NodeCondition {
  # What is not well with a node itself, as long as it is so.
  kind @0 :Text;                # a short name for programs, such as `starts wait`
  message @1 :Text;             # one line for people
  since @2 :Float64;            # wall
}

struct CheckPlaces {
  # How a node's places for one kind of check are taken.
  kind @0 :Text;                # `network` or `exec`
  cap @1 :Int64;                # how many there are
  inFlight @2 :Int64;
  waiting @3 :Int64;            # attempts that wait for a place
  longestWait @4 :Float64;      # seconds, since its supervisor began
}

struct NodeView {
  name @0 :Text;
  state @1 :NodeState;
  joinedAt @2 :Float64;         # wall
  lostAt :union {               # wall
    unset @3 :Void;
    value @4 :Float64;
  }
  warren @5 :Text;              # version
  tasks @6 :Int64;              # that have not ended
  conditions @7 :List(NodeCondition);  # as last reported; none without a session
  containment @8 :Text;         # as in `NodeHello`; empty without a session
  places @9 :List(CheckPlaces); # as last reported; none without a session
  description @10 :NodeDescription;  # as when it last enrolled; no runtimes: not known
}

struct Entry {
  # An event as it is kept.
  at @0 :Float64;               # wall
  kind @1 :Text;                # its word, such as `probe failed`
  subject @2 :Text;             # a service, a task or a node
  message @3 :Text;             # one line for people
  reason @4 :Text;              # a short word for programs
  service @5 :Text;             # that it is about; empty: it is about a node
  seq @6 :Int64;                # grows, never used twice
  by @7 :Text;                  # the principal whose edit it was, such as `uid 1000`; empty: none
  facts @8 :EventFacts;         # null: none
  what @9 :EventKind = unknown; # the kind; `unknown`: of a later version, or the manager is of an
                                # earlier one, and `kind` says it
}

enum Action {
  created @0;
  updated @1;
  scaled @2;
  unchanged @3;
  removed @4;
}

struct Applied {
  service @0 :Text;
  action @1 :Action;
}

struct LogMark {
  # A node's observation of the output: by this time it was written up to this offset.
  at @0 :Float64;               # wall, by the node's clock
  offset @1 :Int64;             # from the chunk's first byte; may lie behind its last
  task @2 :Text;                # such as web.2#7: its instance began there; empty: a time alone
  instance @3 :Text;
}

struct LogChunk {
  data @0 :Data;                # at most 256 KiB
  cursor @1 :Text;              # opaque: ask with it for what follows; empty: there is no log
  lost @2 :Int64;               # bytes before it that are not kept any more
  marks @3 :List(LogMark);      # in order
}

struct LogWanted {
  # The part of a slot's output that is asked for.
  service @0 :Text;
  slot @1 :Int64;
  node @2 :Text;                # that has it
  cursor @3 :Text;              # what follows; empty: see `tail` and `since`
  tail :union {
    unset @4 :Void;             # from the oldest kept
    value @5 :Int64;            # the last so many lines; 0: none
  }
  since @6 :Float64;            # wall, by the node's clock: nothing that had been written before
  times @7 :Bool;               # marks have times, and else only instances
}

struct LogPiece {
  # The answer to one of several requests.
  index @0 :UInt32;             # into what was asked
  chunk @1 :LogChunk;
  absent @2 :Text;              # why there is none now; empty: there is
}

struct KeptLog {
  # A slot of which a node has output.
  slot @0 :Int64;
  node @1 :Text;
}

struct KeptLogs {
  logs @0 :List(KeptLog);       # by slot
  silent @1 :List(Text);        # nodes that may have some, and do not answer
}

struct WatchWanted {
  service @0 :Text;             # empty: all
  services @1 :Bool = true;
  tasks @2 :Bool = true;        # of their slots
  nodes @3 :Bool = false;
}

struct WatchAnswer {
  # What has changed since a cursor was handed out: each thing once, as it is now.
  cursor @0 :Text;              # opaque: ask with it for what follows
  isWhole @1 :Bool;             # it begins anew: what is not told from here on is no more
  services @2 :List(ServiceView);  # without their tasks
  tasks @3 :List(TaskView);     # each in place of the one that had its slot
  nodes @4 :List(NodeView);
  goneServices @5 :List(Text);
  goneSlots @6 :List(SlotName);
  goneNodes @7 :List(Text);
  hasMore @8 :Bool;             # ask on: there is more already, and a whole is not all told yet
}

struct SlotName {
  service @0 :Text;
  slot @1 :Int64;
}

struct ManagerStatus {
  warren @0 :Text;              # version
  pid @1 :Int64;
  startedAt @2 :Float64;        # wall
  generation @3 :Int64;
  services @4 :Int64;
  tasks @5 :Int64;
  nodesReady @6 :Int64;
  nodes @7 :Int64;
  trouble @8 :List(Text);       # a line for each thing that is not well
  troubledNodes @9 :List(Text); # the nodes that are not ready, of which `trouble` has a line
}

# ---- Capabilities ----

interface Gate {
  # What a connection begins with: its bootstrap capability.
  login @0 () -> (cluster :Cluster);
  # To do everything.

  view @1 () -> (view :ClusterView);
  # To look.

  enroll @2 (hello :NodeHello, agent :Agent)
         -> (session :NodeSession, epoch :Int64, manager :Text);
  # To be a node. `epoch` is the number of this supervisor's life; `manager` is the manager's id,
  # the same after a restore: a node that knows another one refuses. The manager calls `agent` on
  # the same connection; the session ends with the connection.
}

interface ClusterView {
  services @0 (after :Text, limit :Int64) -> (services :List(ServiceView));
  # By name; with a `limit` at most so many, and no more than a message has room for, of those whose
  # names follow `after`: ask with the last one's until there are none. 0: all, which a message may
  # have no room for.

  service @1 (name :Text) -> (service :ServiceView);

  tasks @2 (service :Text, past :Bool) -> (tasks :List(TaskView));
  # The current task of every slot, of one service or (empty) all; with `past` the ended ones too.

  task @3 (task :TaskId) -> (task :TaskDetail);

  nodes @4 (after :Text, limit :Int64) -> (nodes :List(NodeView));
  # By name; as `services`.

  events @5 (after :Int64, since :Float64, limit :Int64 = 1000, wait :Bool, about :Text)
    -> (events :List(Entry));
  # With a greater `seq` than `after` and no older than `since` (wall), in order, at most `limit`
  # and 1000. With `wait` it answers when there is one. `about` (empty: all): a service, whose own
  # and whose tasks' events are meant, a task such as web.2#7, or a node.

  lastEvent @6 () -> (seq :Int64);
  # The greatest `seq` given so far; 0: none.

  log @7 (task :TaskId, cursor :Text, tail :Int64, wait :Bool) -> (chunk :LogChunk);
  # A piece of the output of the task's slot: from `cursor`, or with none the last `tail` lines
  # (0: from the beginning). With `wait` it answers when there is something more.

  status @8 () -> (status :ManagerStatus);

  output @9 (wanted :List(LogWanted), wait :Bool) -> (pieces :List(LogPiece));
  # What follows in the output of several slots, at most 64, of any nodes: of those that have
  # some, or a reason why none can be read. With `wait` it answers when there is any.

  keptLogs @10 (service :Text) -> (kept :KeptLogs);
  # Which slots have output, and where; also those that are no longer wanted.

  watch @11 (wanted :WatchWanted, cursor :Text, wait :Bool) -> (answer :WatchAnswer);
  # What has changed since `cursor` was handed out; everything where it is empty, of another manager
  # or too old. With `wait` it answers when something wanted has changed. Over a restart of the
  # manager a cursor holds where nothing was committed since.

  usage @12 (service :Text) -> (usages :List(TaskUsage));
  # What the instances of the tasks use, of one service or (empty) all, as their nodes read it now;
  # tasks without one, or whose node does not say, are left out.
}

interface Cluster extends (ClusterView) {
  # Every method answers once it is durable, not once it is done; a service as it is wanted now,
  # without its tasks.

  create @0 (spec :ServiceSpec) -> (service :ServiceView);

  update @1 (spec :ServiceSpec, base :Int64) -> (service :ServiceView);
  # `base`: the version it was made from; 0: any.

  scale @2 (name :Text, replicas :Int64) -> (service :ServiceView);

  restart @3 (name :Text) -> (service :ServiceView);
  # Replace every task, one slot at a time.

  remove @4 (name :Text) -> ();

  apply @5 (specs :List(ServiceSpec), prune :Bool, dryRun :Bool) -> (applied :List(Applied));
  # Create or change these services, in one transaction; with `prune` remove all others.

  removeNode @6 (name :Text, force :Bool) -> ();
  # Forget a node that is down, or any with `force`; its tasks are replaced elsewhere.
}

interface NodeSession {
  # The methods of one node's session.

  reportTaskHealth @0 (report :Report) -> ();
  # Answers when it is durable.

  renew @1 (conditions :List(NodeCondition), places :List(CheckPlaces)) -> ();
  # The node is still there; its present conditions, at most 32, the rest is dropped; and how
  # its places for checks are taken.

  leave @2 () -> ();
  # The node's supervisor stops in order: the session ends, and that is noted when it answers. Its
  # lease still runs.
}

interface Agent {
  # A node's supervisor, as called by the manager.

  assign @0 (assignments :Assignments) -> ();
  # Answers when it is written down. `conflict`: send everything, with `base` 0.

  look @1 (tasks :List(TaskId)) -> (statuses :List(TaskStatus));
  # As they stand now; those that are not here are left out.

  samples @2 (task :TaskId) -> (samples :List(ProbeSamples));

  log @3 (task :TaskId, cursor :Text, tail :Int64, wait :Bool) -> (chunk :LogChunk);
  # As `ClusterView.log`.

  output @4 (wanted :List(LogWanted), wait :Bool) -> (pieces :List(LogPiece));
  # As `ClusterView.output`, of slots of this node.

  kept @5 (service :Text) -> (slots :List(Int64));
  # The slots of a service that have output here.

  usage @6 (tasks :List(TaskId)) -> (usages :List(TaskUsage));
  # What their instances use now; those that are not here, or do not run, are left out.
}

//! Real servers on this machine, for `make up`, the tests and the fault harness.
//!
//! | file | content |
//! |---|---|
//! | `cluster` | a whole cluster |
//! | `settings`, `ports` | its ports and secrets; free ports |
//! | `process` | a child process, its log and its signals |
//! | `programs` | paths of the programs |
//! | `service`, `haproxy`, `redis`, `redis_sentinel`, `mongo` | the servers of a cluster |
//! | `redis_topology` | the Redis of a cluster, of any kind |
//! | `link` | a link to a server, whose speed can be changed |
//! | `kubernetes`, `rollout` | probes and rolling restarts as Kubernetes does them, from `k8s/` |
//!
//! Everything listens on 127.0.0.1, except HAProxy where `BIND` gives another address. A server
//! lives as long as the value that started it. A guard process ends it when the program that
//! started it is killed, so that no server is left running.

pub mod cluster;
pub mod haproxy;
pub mod kubernetes;
pub mod link;
pub mod mongo;
pub mod ports;
pub mod process;
pub mod programs;
pub mod redis;
pub mod redis_sentinel;
mod redis_topology;
pub mod rollout;
pub mod service;
pub mod settings;

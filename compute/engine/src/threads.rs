//! Threads that run a computation together.
//!
//! A plan has some hundred steps of some ten microseconds each. So a run wakes its threads once.
//! Between steps they wait for each other in a spin loop; between runs they sleep.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Number of spins before a thread yields or sleeps.
const SPINS: u32 = 5_000;
/// Number of elements that a thread packs in about the time that it needs to start.
const WORTH_THREADS: usize = 1 << 17;

/// Does pieces of work on all cores, if `numbers`, the number of elements to write, is large enough.
pub(crate) fn spread<T: Send>(mut work: Vec<T>, numbers: usize, each: impl Fn(T) + Sync) {
    static CORES: LazyLock<usize> =
        LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));
    if numbers < WORTH_THREADS || *CORES == 1 {
        return work.into_iter().for_each(each);
    }
    let chunk = work.len().div_ceil(*CORES);
    std::thread::scope(|scope| {
        while work.len() > chunk {
            let some = work.split_off(work.len() - chunk);
            scope.spawn(|| some.into_iter().for_each(&each));
        }
        work.into_iter().for_each(&each);
    });
}

/// The threads of a plan; the one that calls [`run`](Self::run) is one of them.
#[derive(Debug)]
pub(crate) struct Threads {
    shared: Arc<Shared>,
    handles: Vec<JoinHandle<()>>,
}

struct Shared {
    threads: usize,
    job: Mutex<Job>,
    start: Condvar,
    /// The number of the last job, for threads that spin before they sleep.
    jobs: AtomicUsize,
    /// Number of arrivals of threads at barriers in this job.
    arrived: AtomicUsize,
    /// Number of threads that finished this job.
    finished: AtomicUsize,
    /// Whether a thread panicked. The others then stop waiting for it.
    is_broken: AtomicBool,
}

#[derive(Default)]
struct Job {
    /// The number of jobs so far.
    number: usize,
    task: Option<Task>,
    ends: bool,
}

/// A closure that outlives its job, because [`Threads::run`] waits for all threads.
#[derive(Clone, Copy)]
struct Task(*const (dyn Fn(&Member<'_>) + Sync));

// SAFETY: the closure is `Sync`, so threads may share it.
unsafe impl Send for Task {}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("threads", &self.threads).finish_non_exhaustive()
    }
}

/// One of the threads that do a job.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    pub(crate) index: usize,
    threads: usize,
    shared: &'a Shared,
    /// Number of barriers that it has passed.
    passed: std::cell::Cell<usize>,
}

impl Member<'_> {
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Returns this thread as the only member: it does all work and does not wait at barriers.
    pub(crate) fn on_its_own(&self) -> Member<'_> {
        Member { index: 0, threads: 1, shared: self.shared, passed: 0.into() }
    }

    /// Returns this thread's part of `pieces` equal pieces of work.
    pub(crate) fn share(&self, pieces: usize) -> std::ops::Range<usize> {
        let threads = self.threads();
        self.index * pieces / threads..(self.index + 1) * pieces / threads
    }

    /// Waits until all threads have reached this barrier.
    pub(crate) fn barrier(&self) {
        let threads = self.threads();
        if threads == 1 {
            return;
        }
        let passed = self.passed.get() + 1;
        self.passed.set(passed);
        self.shared.arrived.fetch_add(1, Ordering::AcqRel);
        wait_until(|| {
            assert!(!self.shared.is_broken.load(Ordering::Relaxed), "another thread panicked");
            self.shared.arrived.load(Ordering::Acquire) >= passed * threads
        });
    }
}

impl Threads {
    pub(crate) fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            threads,
            job: Mutex::default(),
            start: Condvar::new(),
            jobs: AtomicUsize::new(0),
            arrived: AtomicUsize::new(0),
            finished: AtomicUsize::new(0),
            is_broken: AtomicBool::new(false),
        });
        let handles = (1..threads)
            .map(|index| {
                let shared = shared.clone();
                std::thread::spawn(move || work(&shared, index))
            })
            .collect();
        Self { shared, handles }
    }

    pub(crate) fn count(&self) -> usize {
        self.shared.threads
    }

    /// Calls a closure in all threads and returns when all have finished.
    pub(crate) fn run(&mut self, task: impl Fn(&Member<'_>) + Sync) {
        let shared = &*self.shared;
        shared.arrived.store(0, Ordering::Relaxed);
        shared.finished.store(0, Ordering::Relaxed);
        if shared.threads > 1 {
            let task: &(dyn Fn(&Member<'_>) + Sync) = &task;
            // SAFETY: this function waits in `finish` until all threads have finished the closure,
            // so no thread uses the pointer after the function returns.
            let task = Task(unsafe {
                std::mem::transmute::<
                    *const (dyn Fn(&Member<'_>) + Sync + '_),
                    *const (dyn Fn(&Member<'_>) + Sync + 'static),
                >(task)
            });
            let mut job = shared.job.lock().unwrap_or_else(PoisonError::into_inner);
            job.number += 1;
            job.task = Some(task);
            shared.jobs.store(job.number, Ordering::Release);
            shared.start.notify_all();
        }
        let member = Member { index: 0, threads: shared.threads, shared, passed: 0.into() };
        let result = catch_unwind(AssertUnwindSafe(|| task(&member)));
        finish(&member, result.is_err());
        if let Err(payload) = result {
            resume_unwind(payload);
        }
        assert!(!shared.is_broken.load(Ordering::Relaxed), "a thread of the engine panicked");
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.job.lock().unwrap_or_else(PoisonError::into_inner).ends = true;
        self.shared.start.notify_all();
        for handle in self.handles.drain(..) {
            // `run` has already reported a panic.
            let _ = handle.join();
        }
    }
}

fn work(shared: &Shared, index: usize) {
    let mut done = 0;
    loop {
        for _ in 0..SPINS {
            if shared.jobs.load(Ordering::Relaxed) != done {
                break;
            }
            std::hint::spin_loop();
        }
        let task = {
            let mut job = shared.job.lock().unwrap_or_else(PoisonError::into_inner);
            while job.number == done && !job.ends {
                job = shared.start.wait(job).unwrap_or_else(PoisonError::into_inner);
            }
            if job.ends {
                return;
            }
            done = job.number;
            job.task.expect("a job has a task")
        };
        let member = Member { index, threads: shared.threads, shared, passed: 0.into() };
        // SAFETY: `Threads::run` keeps the closure alive until `finish` has counted this thread.
        let result = catch_unwind(AssertUnwindSafe(|| unsafe { (*task.0)(&member) }));
        finish(&member, result.is_err());
    }
}

/// Waits at the end of a job until all threads have finished it, also those that panicked.
fn finish(member: &Member<'_>, is_broken: bool) {
    let shared = member.shared;
    if shared.threads == 1 {
        return;
    }
    if is_broken {
        shared.is_broken.store(true, Ordering::Release);
    }
    shared.finished.fetch_add(1, Ordering::AcqRel);
    if member.index == 0 {
        wait_until(|| shared.finished.load(Ordering::Acquire) == shared.threads);
    }
}

/// Spins until a condition holds; after [`SPINS`] spins it yields to other threads.
fn wait_until(condition: impl Fn() -> bool) {
    let mut spins = 0;
    while !condition() {
        spins += 1;
        if spins < SPINS {
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_threads_pass_barriers_together() {
        for threads in 1..5 {
            let mut pool = Threads::new(threads);
            for _ in 0..20 {
                let count = AtomicUsize::new(0);
                pool.run(|member| {
                    for round in 1..10 {
                        count.fetch_add(1, Ordering::Relaxed);
                        member.barrier();
                        assert_eq!(count.load(Ordering::Relaxed), round * threads);
                        member.barrier();
                    }
                });
                assert_eq!(count.load(Ordering::Relaxed), 9 * threads);
            }
        }
    }

    #[test]
    fn the_shares_of_all_threads_are_the_whole_work() {
        let mut pool = Threads::new(3);
        let all = Mutex::new(Vec::new());
        pool.run(|member| all.lock().unwrap().extend(member.share(7)));
        let mut all = all.into_inner().unwrap();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_panic_reaches_the_caller() {
        let mut pool = Threads::new(2);
        let run = AssertUnwindSafe(|| {
            pool.run(|member| {
                assert_ne!(member.index, 1, "on purpose");
                member.barrier();
            });
        });
        assert!(catch_unwind(run).is_err());
    }
}

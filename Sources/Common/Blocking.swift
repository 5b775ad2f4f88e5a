import Glibc

/// Runs a library's asynchronous work to its end on the calling thread.
///
/// The jobs run on this very thread, not on the global pool: no thread is started, and a caller from that pool cannot
/// deadlock on itself. Only for processes that do not fork: after an await in the parent, an await in a forked child
/// never resumes (our processes are spawned).
public func waitFor<T: Sendable>(_ work: @escaping @Sendable () async throws -> T) throws -> T {
    let executor = CallerExecutor()
    let outcome = TaskResult<T>()
    Task.detached(executorPreference: executor) {
        do { outcome.result = .success(try await work()) } catch { outcome.result = .failure(error) }
        executor.finish()
    }
    executor.runUntilFinished()
    return try outcome.result!.get()
}

/// Written by the task, read after it has finished.
private final class TaskResult<T: Sendable>: @unchecked Sendable {
    var result: Result<T, any Error>?
}

/// Runs jobs on the thread that calls ``runUntilFinished()``.
private final class CallerExecutor: TaskExecutor, @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var jobs: [UnownedJob] = []
    private var isFinished = false

    init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        change { jobs.append(job) }
    }

    func finish() { change { isFinished = true } }

    func runUntilFinished() {
        while let job = next() { job.runSynchronously(on: asUnownedTaskExecutor()) }
    }

    private func next() -> UnownedJob? {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while jobs.isEmpty, !isFinished { pthread_cond_wait(condition, mutex) }
        return jobs.isEmpty ? nil : jobs.removeFirst()
    }

    private func change(_ body: () -> Void) {
        pthread_mutex_lock(mutex)
        body()
        pthread_cond_signal(condition)
        pthread_mutex_unlock(mutex)
    }
}

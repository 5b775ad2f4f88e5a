public import Glibc

/// Starts a thread, or ends the program: it cannot work without this thread.
public func startThread(_ body: @escaping @Sendable () -> Void) -> pthread_t {
    guard let thread = startThreadIfPossible(body) else { preconditionFailure("no thread could be started") }
    return thread
}

/// Starts a thread; only the main thread receives signals. Nil: the system cannot start one.
public func startThreadIfPossible(_ body: @escaping @Sendable () -> Void) -> pthread_t? {
    final class Box {
        let body: @Sendable () -> Void; init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var all = sigset_t()
    var before = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &before)
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    var thread = pthread_t()
    let box = Unmanaged.passRetained(Box(body))
    let failed = pthread_create(
        &thread, nil,
        { argument in
            Unmanaged<Box>.fromOpaque(argument!).takeRetainedValue().body()
            return nil
        }, box.toOpaque())
    guard failed == 0 else {
        box.release()
        return nil
    }
    return thread
}

/// A lock, and a condition that its holder may wait for.
public final class Monitor: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    public init() {
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        // A change of the system's clock must not end waits early or late.
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(changed, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(changed)
        pthread_mutex_destroy(mutex)
        changed.deallocate()
        mutex.deallocate()
    }

    public func locked<T>(_ body: () -> T) -> T {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body()
    }

    /// Wakes all waiting threads.
    public func notify() { pthread_cond_broadcast(changed) }

    /// Waits for `notify`. Call it with the lock held; the lock is released during the wait.
    ///
    /// - Parameter milliseconds: the end of the wait, in ``monotonicMilliseconds()``.
    /// - Returns: false when the wait ended by time.
    @discardableResult
    public func wait(until milliseconds: Int64) -> Bool {
        var time = timespec(tv_sec: Int(milliseconds / 1000), tv_nsec: Int(milliseconds % 1000) * 1_000_000)
        return pthread_cond_timedwait(changed, mutex, &time) == 0
    }
}

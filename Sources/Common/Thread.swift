public import Glibc

/// Starts a thread without which the program is of no use.
public func startThread(_ body: @escaping @Sendable () -> Void) -> pthread_t {
    guard let thread = startThreadIfPossible(body) else { preconditionFailure("no thread could be started") }
    return thread
}

/// Starts a thread; only the main thread receives signals. Nil: the system has no room for one.
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
        // Waits are not to end early or late when somebody sets the clock.
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

    /// Wakes all who wait.
    public func notify() { pthread_cond_broadcast(changed) }

    /// Waits for `notify`, with the lock held: other holders run meanwhile.
    ///
    /// - Parameter milliseconds: a moment of ``monotonicMilliseconds()``.
    /// - Returns: false when it has come.
    @discardableResult
    public func wait(until milliseconds: Int64) -> Bool {
        var time = timespec(tv_sec: Int(milliseconds / 1000), tv_nsec: Int(milliseconds % 1000) * 1_000_000)
        return pthread_cond_timedwait(changed, mutex, &time) == 0
    }
}

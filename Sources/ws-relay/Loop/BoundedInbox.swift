import CLinux
import ChatCore
import Glibc

/// A bounded queue between threads. It refuses elements when it is full; a consumer takes everything at once.
///
/// `onArrival` wakes a consumer that does not wait in `take` (the loop: an eventfd).
final class BoundedInbox<Element: Sendable>: @unchecked Sendable {
    // Every stored property below is accessed only while the mutex is held.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let arrived = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var elements: [(element: Element, weight: Int)] = []
    private var isClosed = false
    private let limit: Int
    private let weightLimit: Int
    private var weight = 0
    private let onArrival: (@Sendable () -> Void)?

    /// - Parameter weightLimit: the limit of all elements together; a heavier one is accepted only when the queue is
    ///   empty.
    init(limit: Int, weightLimit: Int = .max, onArrival: (@Sendable () -> Void)? = nil) {
        self.limit = limit
        self.weightLimit = weightLimit
        self.onArrival = onArrival
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(arrived, nil)
    }

    deinit {
        pthread_cond_destroy(arrived)
        pthread_mutex_destroy(mutex)
        arrived.deallocate()
        mutex.deallocate()
    }

    /// False when it is full or closed: the caller keeps the element.
    func put(_ element: Element, weight: Int = 0) -> Bool {
        pthread_mutex_lock(mutex)
        let isLight = weight == 0 || elements.isEmpty || weight <= weightLimit - min(self.weight, weightLimit)
        let fits = elements.count < limit && isLight && !isClosed
        let wasEmpty = elements.isEmpty
        if fits {
            elements.append((element, weight))
            self.weight += weight
        }
        pthread_cond_signal(arrived)
        pthread_mutex_unlock(mutex)
        if fits, wasEmpty { onArrival?() }
        return fits
    }

    /// For a producer that may block until there is room. False when it is closed.
    @discardableResult
    func putWaiting(_ element: Element, weight: Int = 0) -> Bool {
        while !put(element, weight: weight) {
            if hasEnded { return false }
            usleep(1000)
        }
        return true
    }

    private var hasEnded: Bool {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return isClosed
    }

    var isEmpty: Bool {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return elements.isEmpty
    }

    /// Closed and empty.
    var isFinished: Bool {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return isClosed && elements.isEmpty
    }

    /// Takes everything at once; never blocks.
    func drain() -> [Element] {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        defer { (elements, weight) = ([], 0) }
        return elements.map(\.element)
    }

    /// Waits for at least one element; nil once it is closed and empty.
    func take(atMost most: Int = .max) -> [Element]? {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while elements.isEmpty, !isClosed { pthread_cond_wait(arrived, mutex) }
        guard !elements.isEmpty else { return nil }
        let taken = elements.prefix(most)
        elements.removeFirst(taken.count)
        weight -= taken.reduce(0) { $0 + $1.weight }
        return taken.map(\.element)
    }

    /// Refuses new elements; existing ones may still be taken.
    func close() {
        pthread_mutex_lock(mutex)
        isClosed = true
        pthread_cond_broadcast(arrived)
        pthread_mutex_unlock(mutex)
    }
}

/// Starts a named thread; only the main thread receives signals.
func startThread(_ name: String, _ body: @escaping @Sendable () -> Void) -> pthread_t {
    ChatCore.startThread {
        _ = chat_prctl_name(name)
        body()
    }
}

public import Logging

/// The three stores of an upload. Each may be unavailable: its error becomes a refusal and a log line.
public struct UploadStores {
    /// A worker that dies while holding the lock delays others for at most this long.
    private static let lockTime = Duration.seconds(10)
    private static let lockTimeout = Duration.seconds(12)

    private let objectStore: any ObjectStore
    private let uploadRecords: any UploadRecords
    private let uploadProgress: any UploadProgress
    /// Waits for this many milliseconds.
    private let pause: (Int) -> Void
    private let log: Logger

    public init(
        objects: any ObjectStore, records: any UploadRecords, progress: any UploadProgress,
        pause: @escaping (Int) -> Void, log: Logger
    ) {
        objectStore = objects
        uploadRecords = records
        uploadProgress = progress
        self.pause = pause
        self.log = log
    }

    public func objects<T>(_ body: (any ObjectStore) throws(StoreError) -> T) throws(Refusal) -> T {
        do throws(StoreError) { return try body(objectStore) } catch { throw refusal(error) }
    }

    func records<T>(_ body: (any UploadRecords) throws(StoreError) -> T) throws(Refusal) -> T {
        do throws(StoreError) { return try body(uploadRecords) } catch { throw refusal(error) }
    }

    public func record(of message: UUID128) throws(Refusal) -> UploadRecord? {
        try records { records throws(StoreError) in try records.find(message) }
    }

    /// The address of a file that is kept elsewhere.
    public func link(of message: UUID128) throws(Refusal) -> String? {
        try records { records throws(StoreError) in try records.link(of: message) }
    }

    func progress<T>(_ body: (any UploadProgress) throws(BusError) -> T) throws(Refusal) -> T {
        do throws(BusError) { return try body(uploadProgress) } catch {
            log.error("Redis failed", metadata: ["error": "\(error)"])
            throw .unavailable("the state of uploads")
        }
    }

    /// - Parameter body: receives the lock's fence; must be safe even when the lock expires in the middle.
    func locked<T>(_ message: UUID128, _ body: (_ fence: Int64) throws(Refusal) -> T) throws(Refusal) -> T {
        let token = UUID128.v7(at: systemClock()).description
        let end = monotonicMilliseconds() + Self.lockTimeout.milliseconds
        while true {
            let fence = try progress { progress throws(BusError) in
                try progress.lock(.state, of: message, token: token, milliseconds: Int(Self.lockTime.milliseconds))
            }
            if let fence {
                defer { try? uploadProgress.unlock(.state, of: message, token: token) }
                return try body(fence)
            }
            guard monotonicMilliseconds() < end else { throw .busy("another request works on this upload") }
            pause(.random(in: 10...100))
        }
    }

    /// Runs `body` unless another request does the same at this moment: it would only be repeated, so nobody waits.
    public func alone<T>(_ message: UUID128, _ body: () throws(Refusal) -> T) throws(Refusal) -> T {
        let token = UUID128.v7(at: systemClock()).description
        let fence = try progress { progress throws(BusError) in
            try progress.lock(.writer, of: message, token: token, milliseconds: Int(Self.lockTime.milliseconds))
        }
        guard fence != nil else { throw Refusal(.locked, "another request continues this upload") }
        defer { try? uploadProgress.unlock(.writer, of: message, token: token) }
        return try body()
    }

    private func refusal(_ error: StoreError) -> Refusal {
        log.error("a file's store failed", metadata: ["error": "\(error)"])
        guard error.isTransient else { return Refusal(.internalError, "the request failed here; it is in the log") }
        return .unavailable("the store of files")
    }
}

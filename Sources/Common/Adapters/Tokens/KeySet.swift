public import ChatCore
import Crypto
import Glibc
public import Logging

/// The key set at one address, kept up to date by a thread.
///
/// The workers of a program share the fetched sets. A file in RUN_DIR has the newest good set. A file beside it has the
/// time of the last request, and the worker that asks holds its lock. So when many workers start, or all get tokens
/// with an unknown `kid`, the address is asked once in ``pause``. A worker that starts while the address is unavailable
/// has the last good set.
public final class KeySet: @unchecked Sendable {
    /// Between two requests of all workers to the address.
    private static let longestPause = Duration.seconds(10)
    private static let timeout = Duration.seconds(5)
    private static let longestSet = 256 << 10

    private let source: KeySource
    private let file: String
    private let refresh: Int64
    private let pause: Int64
    private let client: HTTPClient
    private let clock: Clock
    private let log: Logger

    private let monitor = Monitor()
    // Guarded by the monitor.
    private var found: [TokenKeys.Key]?
    private var versions = 0
    private var isWanted = false
    private var rounds = (begun: 0, done: 0)
    private var askedAt: Int64 = 0
    private var waitedAt: Int64 = 0

    // Used only by the thread.
    private var text: [UInt8] = []
    private var known: DiskFile.Facts?
    private var hasWarned = false

    /// Starts the threads that keep the sets.
    ///
    /// - Parameter folder: RUN_DIR.
    public static func start(
        _ settings: TokenSettings, folder: String, program: String, clock: @escaping Clock = systemClock, log: Logger
    ) -> [KeySet] {
        settings.keySources.map { source in
            let set = KeySet(
                source, file: "\(folder)/\(program).keys.\(hex(SHA256.hash(data: Array(source.url.utf8)).prefix(8)))",
                settings, clock, log)
            set.start()
            return set
        }
    }

    private init(
        _ source: KeySource, file: String, _ settings: TokenSettings, _ clock: @escaping Clock, _ log: Logger
    ) {
        self.source = source
        self.file = file
        refresh = settings.keyRefresh.milliseconds
        pause = min(Self.longestPause.milliseconds, refresh / 2)
        client = HTTPClient(authorities: settings.keyAuthorities)
        self.clock = clock
        self.log = log
    }

    private func start() {
        adopt()
        // The thread lives as long as the process, and so does this object.
        pthread_detach(startThread { self.run() })
    }

    // MARK: For the verifier

    /// The keys, and a number that changes with them. Nil: no set was read so far.
    var keys: (list: [TokenKeys.Key]?, version: Int) { monitor.locked { (found, versions) } }

    func serves(_ issuer: String?) -> Bool { source.serves(issuer) }

    /// Asks for newer keys, unless the address was asked a moment ago. Waits at most once in ``pause``: anybody can
    /// send a token with an unknown `kid`, and this worker serves no request while it waits.
    ///
    /// - Parameter keyTimeout: milliseconds to wait for the answer.
    /// - Returns: whether the answer is still missing.
    func wantNewer(keyTimeout: Int) -> Bool {
        monitor.locked {
            guard !(0..<pause).contains(clock() - askedAt) else { return rounds.begun > rounds.done }
            isWanted = true
            let wanted = rounds.begun + 1
            monitor.notify()
            guard !(0..<pause).contains(clock() - waitedAt) else { return true }
            waitedAt = clock()
            let end = monotonicMilliseconds() + Int64(keyTimeout)
            while rounds.done < wanted {
                guard monitor.wait(until: end) else { return true }
            }
            return false
        }
    }

    // MARK: The thread

    private func run() {
        // A quarter of the shortest time in which something can be due.
        let tick = max(100, min(5000, pause / 4))
        while true {
            round(
                monitor.locked {
                    rounds.begun += 1
                    defer { isWanted = false }
                    return isWanted
                })
            monitor.locked {
                rounds.done = rounds.begun
                monitor.notify()
                let end = monotonicMilliseconds() + tick
                while !isWanted, monitor.wait(until: end) {}
            }
        }
    }

    private func round(_ isWanted: Bool) {
        adopt()
        guard isDue(isWanted) else { return }
        guard let record = AskedRecord(file + ".asked") else {
            if !hasWarned {
                log.error("no key set can be fetched: a file cannot be written", metadata: ["file": "\(file).asked"])
            }
            hasWarned = true
            return
        }
        // Another worker may have asked before.
        adopt()
        note(record.askedAt)
        guard isDue(isWanted) else { return }
        let now = clock()
        note(now)
        let failure = fetch()
        if let failure, !record.hasFailed {
            log.error(
                "\(failure.isKept ? "a key set was not stored" : "a key set cannot be fetched")",
                metadata: [
                    "url": "\(source.url)", "error": "\(failure.text)",
                    "consequence": monitor.locked { found } == nil
                        ? "tokens signed with its keys are refused until it is there" : "the last good one serves",
                ])
        } else if failure == nil, record.hasFailed {
            log.notice("a key set is fetched again", metadata: ["url": "\(source.url)"])
        }
        record.write(askedAt: now, hasFailed: failure != nil)
    }

    private func note(_ time: Int64) { monitor.locked { askedAt = max(askedAt, min(time, clock())) } }

    private func isDue(_ isWanted: Bool) -> Bool {
        let now = clock()
        // If the clock was set back, the request is due too.
        guard !(0..<pause).contains(now - monitor.locked { askedAt }) else { return false }
        guard !isWanted, monitor.locked({ found }) != nil, let known else { return true }
        return !(0..<refresh).contains(now - known.changedAt)
    }

    private struct Failure: Error {
        var text: String
        /// True: the set is used in this process, but could not be stored for the other workers.
        var isKept = false
    }

    private func fetch() -> Failure? {
        let body: [UInt8]
        do throws(Failure) { body = try get(try address()) } catch { return error }
        do { try take(body) } catch { return Failure(text: "its answer is not a usable key set: \(error)") }
        do throws(StoreError) { try DiskFile.write(body, to: file) } catch {
            return Failure(text: "\(error)", isKept: true)
        }
        known = DiskFile.facts(file)
        return nil
    }

    /// The address of the keys, read from the provider's configuration if the setting names one.
    private func address() throws(Failure) -> String {
        guard source.isDiscovery else { return source.url }
        let text = try get(source.url)
        let document = try? JSONReader.decode(text)
        guard let issuer = document?["issuer"]?.string, let address = document?["jwks_uri"]?.string else {
            throw Failure(text: "its answer is not a provider's configuration")
        }
        guard source.serves(issuer) else { throw Failure(text: "its configuration is that of another issuer") }
        let keys: KeySource
        do throws(ServerURL.Problem) { keys = try KeySource(address) } catch {
            throw Failure(text: "its jwks_uri is not usable: \(error)")
        }
        guard areSameBytes(keys.url, address), !keys.isDiscovery,
            !source.url.utf8.starts(with: "https:".utf8) || address.utf8.starts(with: "https:".utf8)
        else { throw Failure(text: "its jwks_uri is not an https address of keys") }
        return address
    }

    private func get(_ url: String) throws(Failure) -> [UInt8] {
        var request = HTTPTransfer(method: "GET", url: url)
        request.headers = ["Accept: application/jwk-set+json, application/json"]
        request.timeout = Self.timeout
        request.maxAnswer = Self.longestSet
        let answer: HTTPTransfer.Answer
        do throws(HTTPTransfer.Failure) { answer = try client.send(request) } catch {
            throw Failure(text: error.description)
        }
        // A redirect is not followed: its target was not chosen by the operator.
        guard answer.status == 200 else { throw Failure(text: "it answered \(answer.status)") }
        return answer.body
    }

    /// Takes the file when another worker has written it.
    private func adopt() {
        guard let (facts, text) = DiskFile.own(file, unless: known?.etag, limit: Self.longestSet) else { return }
        known = facts
        do { try take(text) } catch {
            log.error("a stored key set cannot be used", metadata: ["file": "\(file)", "error": "\(error)"])
        }
    }

    private func take(_ text: [UInt8]) throws {
        guard text != self.text || monitor.locked({ found }) == nil else { return }
        let keys = try TokenKeys.keys(of: text, source: source, skipsBad: true)
        self.text = text
        monitor.locked {
            found = keys
            versions += 1
        }
    }
}

import ChatCore

/// The reason why one of our own programs is missing, safe to show to strangers.
struct NotReady: Error {
    let reason: String
}

/// Liveness and readiness of this worker.
final class HealthEndpoints {
    /// Anybody may ask, at any rate, so an answer is cached. A check that waits for a dead server costs the worker
    /// seconds, so a bad answer is cached longer.
    private static let kept = Duration.seconds(1)
    private static let keptWhenAway = Duration.seconds(3)

    /// Everything that a request needs: a name, and a check that throws the reason of a failure, or returns a remark.
    private let dependencies: [(name: String, check: () throws -> String?)]
    /// Optional services: requests succeed without them.
    private let helpers: [(name: String, without: String, check: () throws -> String?)]
    private var last: (response: Response, until: Int64)?

    init(
        dependencies: [(name: String, check: () throws -> String?)],
        helpers: [(name: String, without: String, check: () throws -> String?)] = []
    ) {
        self.dependencies = dependencies
        self.helpers = helpers
    }

    func add(to router: inout Router) {
        router.on("GET", "/healthz", open: true, query: nil) { _ throws(Refusal) in .text("ok\n") }
        router.on("GET", "/readyz", open: true, query: nil) { _ throws(Refusal) in self.ready() }
    }

    private func ready() -> Response {
        if let last, monotonicMilliseconds() < last.until { return last.response }
        let response = look()
        last = (
            response,
            monotonicMilliseconds() + (response.status == 200 ? Self.kept.milliseconds : Self.keptWhenAway.milliseconds)
        )
        return response
    }

    private func look() -> Response {
        var lines = ""
        var well = true
        for dependency in dependencies {
            do {
                lines += "\(dependency.name): ok\(try dependency.check().map { "; \($0)" } ?? "")\n"
            } catch {
                well = false
                // The reason goes to the log; a stranger sees only the name.
                lines += "\(dependency.name): \((error as? NotReady)?.reason ?? "unreachable")\n"
            }
        }
        for helper in helpers {
            do {
                lines += "\(helper.name): ok\(try helper.check().map { "; \($0)" } ?? "")\n"
            } catch {
                lines += "\(helper.name): \((error as? NotReady)?.reason ?? "unreachable"); \(helper.without)\n"
            }
        }
        return .text(lines.isEmpty ? "ok\n" : lines, status: well ? 200 : 503)
    }
}

import ChatCore

/// The reason why one of our own programs is missing, safe to show to strangers.
struct NotReady: Error {
    let reason: String
}

/// Liveness and readiness of this worker.
struct HealthEndpoints {
    /// Everything that a request needs: a name, and a check that throws the reason of a failure.
    let dependencies: [(name: String, check: () throws -> Void)]
    /// Optional services: requests succeed without them.
    var helpers: [(name: String, without: String, check: () throws -> Void)] = []

    func add(to router: inout Router) {
        router.on("GET", "/healthz", open: true, query: nil) { _ throws(Refusal) in .text("ok\n") }
        router.on("GET", "/readyz", open: true, query: nil) { _ throws(Refusal) in ready() }
    }

    private func ready() -> Response {
        var lines = ""
        var well = true
        for dependency in dependencies {
            do {
                try dependency.check()
                lines += "\(dependency.name): ok\n"
            } catch {
                well = false
                if let error = error as? NotReady {
                    lines += "\(dependency.name): \(error.reason)\n"
                    continue
                }
                // The reason goes to the log; a stranger sees only the name.
                lines += "\(dependency.name): unreachable\n"
            }
        }
        for helper in helpers {
            let isThere = (try? helper.check()) != nil
            lines += "\(helper.name): \(isThere ? "ok" : "unreachable; \(helper.without)")\n"
        }
        return .text(lines.isEmpty ? "ok\n" : lines, status: well ? 200 : 503)
    }
}

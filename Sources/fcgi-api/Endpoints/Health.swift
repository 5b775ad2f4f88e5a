import ChatCore

/// Why one of our own programs is missed; nothing that a stranger may not read.
struct NotReady: Error {
    let reason: String
}

/// Is this worker alive; can it do its work.
struct HealthEndpoints {
    /// What has to be there for a request to succeed: a name and a check that throws why not.
    let dependencies: [(name: String, check: () throws -> Void)]
    /// What is missed and can be done without.
    var helpers: [(name: String, without: String, check: () throws -> Void)] = []

    func add(to router: inout Router) {
        router.on("GET", "/healthz", open: true) { _ throws(Refusal) in .text("ok\n") }
        router.on("GET", "/readyz", open: true) { _ throws(Refusal) in ready() }
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
                // The reason goes to the log of whoever looks there; a stranger gets the name alone.
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

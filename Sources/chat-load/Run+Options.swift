import ChatCore

/// The options of the command line, each checked.
extension Run {
    func checked(_ source: Credentials.Source) throws -> LoadOptions {
        var options = LoadOptions()
        var count = users ?? 20
        if users == nil, case .tokens(let tokens) = source { count = tokens.count }
        options.users = try within("users", count, 1...100_000)
        options.rooms = try within("rooms", rooms, 1...10_000)
        options.members = try within("members", members, 2...1000)
        guard members <= count else { throw Unusable("--members is \(members): there are only \(count) users") }
        options.rate = try number("rate", rate)
        options.uploads = try number("uploads", uploads)
        options.churn = try number("churn", churn)
        guard options.rate > 0 || options.uploads > 0 else {
            throw Unusable("--rate and --uploads are both 0: nothing is sent")
        }
        options.duration = try time("duration", duration)
        guard options.duration >= second / 10 else { throw Unusable("--duration is at least 100ms") }
        options.ramp = try time("ramp", ramp)
        options.patience = try time("patience", patience)
        guard let size = LoadOptions.size(size), size.lowerBound >= 22, size.upperBound <= 16_384 else {
            throw Unusable("--size takes bytes from 22 to 16384, such as 100 or 30-2000")
        }
        options.size = size
        options.uploadSize = try within("upload-size", uploadSize, 1...5_242_880)
        options.inFlight = try within("in-flight", inFlight, 1...50_000_000)
        options.seed = seed ?? UInt64.random(in: 1...UInt64(UInt32.max))
        guard (options.rate + options.uploads) * Double(options.duration) / 1e9 < 2e9 else {
            throw Unusable("--rate, --uploads and --duration make more than 2000000000 messages")
        }
        (options.json, options.html, options.isQuiet) = (json, html, quiet)
        (options.checksHistory, options.keeps) = (checkHistory, keep)
        return options
    }

    private func within(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws -> Int {
        guard range.contains(value) else {
            throw Unusable("--\(name) takes \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    private func time(_ name: String, _ text: String) throws -> Int64 {
        guard let value = LoadOptions.time(text) else {
            throw Unusable("--\(name) takes a time such as 60s, 5m or 2h, at most 7 days")
        }
        return value
    }

    private func number(_ name: String, _ text: String) throws -> Double {
        guard let value = LoadOptions.rate(text) else {
            throw Unusable("--\(name) takes a number a second such as 50 or 0.5, at most 1000000")
        }
        return value
    }
}

/// The keys `workers…`, which only make sense together.
struct PoolSizing {
    enum Mode: String { case fixed = "static", dynamic, ondemand }

    static let keys = [
        "workers", "workers.min", "workers.max", "workers.min_spare", "workers.max_spare", "workers.idle_timeout",
    ]

    private var mode: Mode?
    private var given: [String: Int] = [:]
    private var idleTimeout: Duration?
    private let before: PoolSettings

    init(_ pool: PoolSettings) { before = pool }

    /// False: the key is none of these.
    mutating func take(_ key: String, _ value: String) throws(PoolSettings.Problem) -> Bool {
        switch key {
        case "workers":
            guard let mode = Mode(rawValue: value) else {
                throw PoolSettings.Problem(text: "\"\(value)\" is not one of: static, dynamic, ondemand")
            }
            self.mode = mode
        case "workers.min": given[key] = try PoolSettings.number(value, 1...1024)
        case "workers.max": given[key] = try PoolSettings.number(value, 1...1024)
        case "workers.min_spare", "workers.max_spare": given[key] = try PoolSettings.number(value, 0...1024)
        case "workers.idle_timeout": idleTimeout = try PoolSettings.time(value, milliseconds: 1000...86_400_000)
        default: return false
        }
        return true
    }

    /// Puts the numbers into the pool. Returns the contradictions, each with its key.
    func settle(_ pool: inout PoolSettings) -> [(key: String, text: String)] {
        let most = given["workers.max"] ?? max(before.maxWorkers, given["workers.min"] ?? 1)
        let least = given["workers.min"] ?? min(before.workers, most)
        let mode = mode ?? (least < most ? .dynamic : .fixed)
        var problems = misplaced(in: mode)
        if least > most {
            problems.append(("workers.min", "\(least) is more than workers.max, which is \(most)"))
        }
        if self.mode == .dynamic, given["workers.max"] == nil, least == most {
            problems.append(("workers", "a dynamic pool needs workers.max, above workers.min, which is \(least)"))
        }
        pool.isOnDemand = mode == .ondemand
        pool.maxWorkers = most
        pool.workers = mode == .ondemand ? 0 : mode == .fixed ? most : least
        pool.minSpare = given["workers.min_spare"] ?? 0
        pool.maxSpare = given["workers.max_spare"] ?? 0
        pool.idleTimeout = idleTimeout ?? before.idleTimeout
        if pool.maxSpare > 0, pool.minSpare >= pool.maxSpare {
            problems.append(
                ("workers.min_spare", "\(pool.minSpare) must be less than workers.max_spare, which is \(pool.maxSpare)")
            )
        }
        if pool.maxSpare > most {
            problems.append(("workers.max_spare", "\(pool.maxSpare) is more than workers.max, which is \(most)"))
        }
        if pool.minSpare > most {
            problems.append(("workers.min_spare", "\(pool.minSpare) is more than workers.max, which is \(most)"))
        }
        return problems
    }

    private func isGiven(_ key: String) -> Bool {
        areSameBytes(key, "workers.idle_timeout") ? idleTimeout != nil : given[key] != nil
    }

    private func misplaced(in mode: Mode) -> [(key: String, text: String)] {
        let strange =
            switch mode {
            case .fixed: ["workers.min", "workers.min_spare", "workers.max_spare", "workers.idle_timeout"]
            case .ondemand: ["workers.min", "workers.min_spare", "workers.max_spare"]
            case .dynamic: [String]()
            }
        // A static pool may have its number in both keys.
        return strange.filter {
            isGiven($0) && !($0 == "workers.min" && given[$0] == given["workers.max"] && mode == .fixed)
        }
        .map { ($0, "it means nothing in a pool with workers = \(mode.rawValue)") }
    }
}

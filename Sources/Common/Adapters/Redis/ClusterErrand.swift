import ChatCore

/// The commands of one pipeline on their way to the nodes of a cluster: where each goes, and which must be sent again.
/// It does no input or output.
struct ClusterErrand {
    /// One command for a node.
    struct Step: Equatable {
        var index: Int
        /// It follows an ASK: the node has only a part of the slot.
        var asking: Bool
    }

    /// Rounds of one errand: a slot may move while its keys move.
    private static let maxRounds = 16
    /// Rounds that found keys of one command on two nodes: with the pause between them a second.
    private static let maxWaits = 40

    private(set) var commands: [[RedisWord]] = []
    /// The values of the callers' commands: an MGET was sent as one GET a key.
    private var spans: [(start: Int, count: Int)]?
    private var values: [RedisValue?]
    private var waiting: [Int]
    private var detours: [Int: ServerURL.Host] = [:]
    private var rounds = 0
    private var waits = 0
    /// The map is out of date.
    private(set) var hasMoved = false
    /// Wait a moment before the next round.
    private(set) var mustWait = false

    init(_ asked: [[RedisWord]]) {
        if asked.contains(where: { Self.isSplit($0) }) {
            var spans: [(start: Int, count: Int)] = []
            for words in asked {
                let parts = Self.isSplit(words) ? words.dropFirst().map { [RedisWord(word: "GET"), $0] } : [words]
                spans.append((commands.count, Self.isSplit(words) ? parts.count : -1))
                commands += parts
            }
            self.spans = spans
        } else {
            commands = asked
        }
        for index in commands.indices where Self.isWord(commands[index].first, "PUBLISH") {
            commands[index][0] = RedisWord(word: "SPUBLISH")
        }
        values = [RedisValue?](repeating: nil, count: commands.count)
        waiting = Array(commands.indices)
    }

    private static func isWord(_ word: RedisWord?, _ name: StaticString) -> Bool {
        guard let word, word.count == name.utf8CodeUnitCount else { return false }
        return name.withUTF8Buffer { word.elementsEqual($0) }
    }

    private static func isSplit(_ words: [RedisWord]) -> Bool { isWord(words.first, "MGET") && words.count > 2 }

    /// The slot of a command's first key, or of its channel; nil: any node can answer.
    static func slot(of words: [RedisWord]) -> Int? {
        guard let name = words.first else { return nil }
        if isWord(name, "EVAL") || isWord(name, "EVALSHA") {
            return words.count > 3 && words[2] != [UInt8(ascii: "0")] ? ClusterSlot.of(words[3]) : nil
        }
        let keyless: [StaticString] = ["PING", "CLUSTER", "INFO", "PUBSUB", "TIME", "ROLE", "CLIENT", "CONFIG"]
        guard words.count > 1, !keyless.contains(where: { isWord(name, $0) }) else { return nil }
        return ClusterSlot.of(words[1])
    }

    var isDone: Bool { waiting.isEmpty }

    /// The next round: for each node its commands, in their order.
    mutating func steps(_ map: ClusterMap) throws(RedisError) -> [(host: ServerURL.Host, steps: [Step])] {
        rounds += 1
        guard rounds <= Self.maxRounds + waits, waits <= Self.maxWaits else {
            throw RedisError(reason: "the cluster's nodes send commands to and fro")
        }
        (hasMoved, mustWait) = (false, false)
        var order: [ServerURL.Host] = []
        var steps: [ServerURL.Host: [Step]] = [:]
        for index in waiting {
            let detour = detours[index]
            let slot = Self.slot(of: commands[index])
            guard let host = detour ?? slot.map({ map[$0] }) ?? map.nodes.first else {
                throw RedisError(reason: "no node of the cluster serves this slot")
            }
            if steps[host] == nil { order.append(host) }
            steps[host, default: []].append(Step(index: index, asking: detour != nil))
        }
        return order.map { ($0, steps[$0]!) }
    }

    /// Takes the answers of one node to its steps of this round.
    mutating func take(_ answers: [RedisValue], to steps: [Step], from host: ServerURL.Host, _ map: inout ClusterMap) {
        for (step, value) in zip(steps, answers) {
            detours[step.index] = nil
            guard case .error(let text) = value, let refusal = ClusterRefusal(text, from: host) else {
                values[step.index] = value
                continue
            }
            switch refusal {
            case .moved(let slot, let other):
                map.moved(slot, to: other)
                hasMoved = true
                // A node that does not know yet what the other one says it has.
                if rounds > 2 { mustWait = true }
            case .ask(let other): detours[step.index] = other
            case .tryAgain:
                if !mustWait { waits += 1 }
                mustWait = true
            }
        }
    }

    /// Call it after the answers of a round.
    mutating func endRound() { waiting.removeAll { values[$0] != nil } }

    /// The values of the commands as they were asked. Call it when the errand is done.
    var results: [RedisValue] {
        guard let spans else { return values.map { $0! } }
        return spans.map { span in
            guard span.count >= 0 else { return values[span.start]! }
            let parts = values[span.start..<span.start + span.count].map { $0! }
            for case .error(let text) in parts { return .error(text) }
            return .array(parts)
        }
    }
}

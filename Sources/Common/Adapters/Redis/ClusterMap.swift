public import ChatCore

/// The masters of a Redis Cluster, and the slots of each.
public struct ClusterMap: Sendable, Equatable {
    /// Redis recommends at most a thousand nodes.
    private static let maxNodes = 1000
    private static let unserved = UInt16.max

    public private(set) var nodes: [ServerURL.Host] = []
    /// For each slot the place of its master in `nodes`.
    private var owners = [UInt16](repeating: unserved, count: ClusterSlot.count)

    /// Nil: no node serves this slot.
    public subscript(slot: Int) -> ServerURL.Host? {
        owners[slot] == Self.unserved ? nil : nodes[Int(owners[slot])]
    }

    /// Whether every slot has a master.
    public var isWhole: Bool { !owners.contains(Self.unserved) }

    public init() {}

    /// The slot of a key or of a channel.
    public static func slot(of name: String) -> Int { ClusterSlot.of(Array(name.utf8)) }

    /// Reads the answer to CLUSTER SLOTS: a list of (first slot, last slot, master, replicas…), and of each node its
    /// address, port and more.
    ///
    /// - Parameter asked: a node without an address is the one that was asked.
    init?(_ answer: RedisValue, from asked: ServerURL.Host) {
        guard case .array(let ranges) = answer else { return nil }
        for range in ranges {
            guard let fields = range.array, fields.count >= 3, case .int(let first) = fields[0],
                case .int(let last) = fields[1], 0 <= first, first <= last, last < ClusterSlot.count,
                let node = fields[2].array, node.count >= 2, case .int(let port) = node[1], (1...65_535).contains(port)
            else { return nil }
            let name = node[0].bytes.map { String(decoding: $0, as: UTF8.self) } ?? ""
            let host = ServerURL.Host(name.isEmpty || name == "?" ? asked.name : name, Int(port))
            guard let place = place(of: host) else { return nil }
            for slot in Int(first)...Int(last) { owners[slot] = place }
        }
    }

    /// A node has said who owns this slot.
    public mutating func moved(_ slot: Int, to host: ServerURL.Host) {
        guard owners.indices.contains(slot), let place = place(of: host) else { return }
        owners[slot] = place
    }

    private mutating func place(of host: ServerURL.Host) -> UInt16? {
        if let place = nodes.firstIndex(of: host) { return UInt16(place) }
        guard nodes.count < Self.maxNodes else { return nil }
        nodes.append(host)
        return UInt16(nodes.count - 1)
    }
}

/// A node's answer that a command belongs to another node, or cannot be carried out now.
public enum ClusterRefusal: Equatable, Sendable {
    /// The slot has moved for good.
    case moved(slot: Int, to: ServerURL.Host)
    /// The slot is moving, and this key is at the other node, or will be created there.
    case ask(ServerURL.Host)
    /// The slot is moving, and of the command's keys some are here and some there.
    case tryAgain

    /// - Parameter asked: the node that answered: an answer without an address means it, with another port.
    public init?(_ error: String, from asked: ServerURL.Host) {
        let words = error.utf8.split(separator: UInt8(ascii: " "))
        switch words.first.map({ String(decoding: Array($0), as: UTF8.self) }) {
        case "TRYAGAIN": self = .tryAgain
        case "MOVED":
            guard words.count == 3, let slot = Self.number(words[1]), slot < ClusterSlot.count,
                let host = Self.host(words[2], asked)
            else { return nil }
            self = .moved(slot: slot, to: host)
        case "ASK":
            guard words.count == 3, let host = Self.host(words[2], asked) else { return nil }
            self = .ask(host)
        default: return nil
        }
    }

    private static func number(_ text: Substring.UTF8View) -> Int? {
        guard (1...5).contains(text.count), text.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return text.reduce(0) { $0 * 10 + Int($1) - 0x30 }
    }

    /// Reads `address:port`; an IPv6 address has no brackets.
    private static func host(_ text: Substring.UTF8View, _ asked: ServerURL.Host) -> ServerURL.Host? {
        guard let colon = text.lastIndex(of: UInt8(ascii: ":")), let port = number(text[text.index(after: colon)...]),
            (1...65_535).contains(port)
        else { return nil }
        let name = String(decoding: Array(text[..<colon]), as: UTF8.self)
        return ServerURL.Host(name.isEmpty || name == "?" ? asked.name : name, port)
    }
}

import ChatCore
import Logging

/// A drain: this relay takes no new socket, and its clients go to another one while it still serves them. ``Moves`` says
/// who is next.
extension Hub {
    var isDraining: Bool { moves.order != nil }

    func drain(_ order: MoveOrder) {
        let begins = moves.order == nil
        moves.begin(order, at: clock.milliseconds)
        drainIsOver = false
        guard begins else { return }
        log.notice("this relay is drained", metadata: ["sockets": "\(sockets.clients)", "how": "\(order.text)"])
    }

    func stopDraining() {
        guard isDraining else { return }
        log.notice("the drain is stopped: this relay takes sockets again", metadata: drained)
        moves.stop()
    }

    /// Call this often.
    func goOnMoving() {
        guard moves.isActive else { return }
        for step in moves.due(at: clock.milliseconds) {
            switch step {
            case .tell(let handle): if let slot = sockets.connections.slot(handle) { tellToMove(slot) }
            case .close(let handle):
                guard let slot = sockets.connections.slot(handle) else { continue }
                sockets.close(
                    slot, .goingAway, "this relay is drained; reconnect in \(Int.random(in: 1...5)) s")
            }
        }
    }

    /// Once a second: sockets that came in before the drain, and are welcomed since.
    func lookForMoves() {
        guard isDraining else { return }
        if moves.wantsMore { moves.add(sockets.welcomed) }
        guard !drainIsOver, sockets.clients == 0 else { return }
        drainIsOver = true
        log.notice("no socket is left on this relay", metadata: drained)
    }

    private var drained: Logger.Metadata {
        [
            "sockets": "\(sockets.clients)", "moved": "\(moves.counters.moved)", "closed": "\(moves.counters.closed)",
        ]
    }

    private func tellToMove(_ slot: UInt32) {
        guard let order = moves.order else { return }
        let body = FrameBody {
            $0.map {
                $0.field("URL", ifAny: order.url)
                $0.field("Within", order.within)
            }
        }
        sockets.reply(body, .move, to: slot)
    }

    // MARK: Hand-over

    func writeTold(of handles: [UInt64], to state: inout StateWriter) {
        let places = Dictionary(uniqueKeysWithValues: handles.enumerated().map { ($1, UInt32($0)) })
        let told = moves.allTold.compactMap { one in places[one.handle].map { (place: $0, due: one.due) } }
        state.put(UInt32(told.count))
        for (place, due) in told {
            state.put(place)
            state.put(due)
        }
    }

    func adoptTold(from state: inout StateReader, _ handed: Sockets.HandedRows) throws(StateUnreadable) {
        var told: [Moves.Told] = []
        for _ in 0..<(try state.take(UInt32.self)) {
            let place = Int(try state.take(UInt32.self))
            let due: Int64 = try state.take()
            if let slot = handed.slot(at: place) {
                told.append(.init(handle: sockets.connections.handle(slot), due: due))
            }
        }
        moves.adopt(told)
    }
}

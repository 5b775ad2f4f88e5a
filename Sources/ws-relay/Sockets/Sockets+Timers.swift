import ChatCore

extension Sockets {
    /// The second has come at which the socket is to be looked at.
    func due(_ slot: UInt32) {
        let flags = connections[slot].flags
        if flags.contains(.closing) { return destroy(slot) }
        if flags.contains(.greeting) {
            return answer(slot, HTTPRefusal.headTimedOut.answer(requestID: clock.newID().description))
        }
        if !flags.contains(.welcomed) { return close(slot, .goingAway, "your rooms could not be loaded in time") }
        let left = Int64(connections[slot].expires) - clock.unixSeconds
        if left <= 0 { return close(slot, .tokenExpired, "the token has expired") }
        if connections[slot].getsEvents { return dueEvents(slot, UInt32(clamping: left)) }
        let silent = clock.second &- connections[slot].heard
        if silent >= UInt32(settings.idleTimeout) { return close(slot, .goingAway, "no sign of life") }
        let next = silent >= UInt32(settings.heartbeat) ? ping(slot) : UInt32(settings.heartbeat) - silent
        let untilIdle = UInt32(settings.idleTimeout) - silent
        connections.row(slot).pointee.deadline = clock.second &+ max(1, min(next, untilIdle, UInt32(clamping: left)))
    }

    /// - Returns: seconds until the next ping.
    private func ping(_ slot: UInt32) -> UInt32 {
        connections.insert(.pinged, slot)
        send(SharedFrame(.ping, [], isEphemeral: true), to: slot)
        return UInt32(settings.heartbeat)
    }
}

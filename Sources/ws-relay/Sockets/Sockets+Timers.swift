import ChatCore

extension Sockets {
    /// Checks a socket whose deadline has come.
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
        let idle = UInt32(settings.idleTimeout.seconds)
        if silent >= idle { return close(slot, .goingAway, "no sign of life") }
        let next = silent >= heartbeat ? ping(slot) : heartbeat - silent
        let untilIdle = idle - silent
        connections.row(slot).pointee.deadline = clock.second &+ max(1, min(next, untilIdle, UInt32(clamping: left)))
    }

    /// - Returns: seconds until the next ping.
    private func ping(_ slot: UInt32) -> UInt32 {
        connections.insert(.pinged, slot)
        send(SharedFrame(.ping, [], isEphemeral: true), to: slot)
        return heartbeat
    }

    private var heartbeat: UInt32 { UInt32(settings.heartbeat.seconds) }
}

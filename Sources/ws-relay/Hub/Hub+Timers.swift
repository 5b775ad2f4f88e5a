import ChatCore

/// Timers, once a second: pings, expired tokens, and the limit of every wait.
extension Hub {
    func everySecond() {
        for slot in 0..<UInt32(connections.used)
        where connections[slot].descriptor >= 0 && connections[slot].deadline.hasPassed(at: now) { due(slot) }
        let overdue = slow.filter { $0.value.outbox.isOverdue(now: now, limits: limits) }.keys
        for slot in overdue where !connections[slot].flags.contains(.closing) { closeSlow(slot, lost: nil) }
        lookAtTroubledRooms()
        tellPresence()
        forgetTyping()
        if !isEnding { ephemerals.beat() }
        let counts = rates.takeCounts(now: milliseconds)
        if !counts.isEmpty { ephemerals.charge(counts) }
        let again = reloads
        reloads = []
        for id in again { if let user = users.index(id) { askMemberships(of: user) } }
    }

    private func due(_ slot: UInt32) {
        let flags = connections[slot].flags
        if flags.contains(.closing) { return destroy(slot) }
        if flags.contains(.greeting) {
            return answer(slot, HTTPRefusal.headTimedOut.answer(requestID: newID().description))
        }
        if !flags.contains(.welcomed) { return close(slot, .goingAway, "your rooms could not be loaded in time") }
        let left = Int64(connections[slot].expires) - unixMilliseconds / 1000
        if left <= 0 { return close(slot, .tokenExpired, "the token has expired") }
        if connections[slot].getsEvents { return dueEvents(slot, UInt32(clamping: left)) }
        let silent = now &- connections[slot].heard
        if silent >= UInt32(settings.idleTimeout) { return close(slot, .goingAway, "no sign of life") }
        let next = silent >= UInt32(settings.heartbeat) ? ping(slot) : UInt32(settings.heartbeat) - silent
        let untilIdle = UInt32(settings.idleTimeout) - silent
        connections[slot].deadline = now &+ max(1, min(next, untilIdle, UInt32(clamping: left)))
    }

    /// - Returns: seconds until the next ping.
    private func ping(_ slot: UInt32) -> UInt32 {
        connections[slot].flags.insert(.pinged)
        send(SharedFrame(.ping, [], isEphemeral: true), to: slot)
        return UInt32(settings.heartbeat)
    }
}

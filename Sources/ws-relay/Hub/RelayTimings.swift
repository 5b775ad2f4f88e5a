import ChatProcess

/// The relay's histograms, in the scoreboard.
struct RelayTimings {
    static let names = ["confirm_seconds", "delivery_seconds", "socket_write_seconds", "handover_pause_seconds"]

    /// From handing commands to the broker until it has them safe.
    let confirm: Histogram
    /// From a socket's request until its own frame comes back to it, with the one to everybody else.
    let delivery: Histogram
    /// The end of a tick that wrote to sockets.
    let socketWrite: Histogram
    /// For how long all sockets stood still.
    let handoverPause: Histogram

    init(_ row: ScoreboardRow) {
        confirm = row.histogram(0)
        delivery = row.histogram(1)
        socketWrite = row.histogram(2)
        handoverPause = row.histogram(3)
    }
}

import Glibc

extension RabbitMQConnection {
    /// Ends the connection as a crash would, but only after everything we sent has been read.
    ///
    /// When a consumer cancels or closes its channel, its unacknowledged deliveries are requeued behind newer ones.
    /// When its TCP connection just ends, they return in their old order. So we close the writing side (the broker
    /// reads our acknowledgements, then the end) and read until the broker closes, at most a second.
    public func endAbruptly() {
        shutdown(fileDescriptor, Int32(SHUT_WR))
        var limit = timeval(tv_sec: 1, tv_usec: 0)
        setsockopt(fileDescriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let flags = fcntl(fileDescriptor, F_GETFL)
        _ = fcntl(fileDescriptor, F_SETFL, flags & ~O_NONBLOCK)
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while read(fileDescriptor, &buffer, buffer.count) > 0 {}
    }
}

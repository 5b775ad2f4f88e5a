import Glibc

extension RabbitMQConnection {
    /// Ends the connection as a crash would, but with everything sent that we wanted to say.
    ///
    /// A consumer that cancels, or closes its channel, while deliveries are unacknowledged gets them queued again behind
    /// newer ones. When its TCP connection just ends, they go back in their old order. So: no more writing (the broker
    /// reads our acknowledgements, then the end), and reading until the broker has closed, at most a second.
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

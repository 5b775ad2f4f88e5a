/// Means "none" in every table of this folder.
let noIndex = UInt32.max

/// One socket in 88 bytes, without an object of its own. `SlowState` has the fields of slow or half-read sockets.
struct Connection: BitwiseCopyable {
    struct Flags: OptionSet, BitwiseCopyable {
        let rawValue: UInt16
        /// Not a WebSocket yet: its `SlowState` reads the request's head.
        static let greeting = Flags(rawValue: 1)
        /// `chat.json` instead of msgpack.
        static let json = Flags(rawValue: 2)
        /// `welcome` was sent: from now on it gets every frame of its rooms.
        static let welcomed = Flags(rawValue: 4)
        /// A close frame was sent or queued: nothing else will be.
        static let closing = Flags(rawValue: 8)
        /// A ping is out.
        static let pinged = Flags(rawValue: 16)
        /// epoll reports when it becomes writable.
        static let watchesWrite = Flags(rawValue: 32)
        /// Frames of this tick wait in its list.
        static let dirty = Flags(rawValue: 64)
        /// Not read until `welcome` was sent.
        static let readPaused = Flags(rawValue: 128)
        /// Has a `SlowState`.
        static let slow = Flags(rawValue: 256)
        // The next flags serve a successor after a crash:
        /// Bytes were read from the kernel and are not processed yet.
        static let reading = Flags(rawValue: 512)
        /// A write is in progress: it is unknown how much of it the client got.
        static let writing = Flags(rawValue: 1024)
        /// `welcome` was pushed but not written.
        static let fresh = Flags(rawValue: 2048)
        /// Is receiving, or has just received, missed frames: its position in those rooms is its own.
        static let resuming = Flags(rawValue: 4096)
        /// Received frames in the flush during which the predecessor died: it has everything up to
        /// `TrackedRoom.aheadUntil`.
        static let ahead = Flags(rawValue: 8192)
        /// permessage-deflate was negotiated.
        static let deflated = Flags(rawValue: 16384)
        /// Its next byte is an awaited sign of life.
        static let probed = Flags(rawValue: 32768)
    }

    var descriptor: Int32
    /// Counts the uses of this slot: a late event of an earlier use must not affect this one.
    var generation: UInt32
    var serial: UInt64 = 0
    var user = noIndex
    /// The list of the user's sockets.
    var nextOfUser = noIndex
    /// Frames of this tick: a list in `TickWrites`.
    var firstWrite = noIndex
    var lastWrite = noIndex
    /// The second (of the relay's own clock) of the client's last byte.
    var heard: UInt32 = 0
    /// The second at which the timer checks this socket.
    var deadline: UInt32 = 0
    /// Unix second at which the token ends.
    var expires: UInt32 = 0
    /// The mark (`RelayMemory.mark`) since which frames of its rooms are held, if a successor needs nothing else of its
    /// `SlowState`; otherwise 0.
    var heldSince: UInt32 = 0
    /// Unix millisecond at which the token was issued; 0: unknown.
    var issued: Int64 = 0
    /// A hash of the token's `jti`, for revocation; 0: none.
    var tokenID: UInt64 = 0
    /// A hash of the client's address when addresses are limited; 0: not counted.
    var address: UInt64 = 0
    var bucket = RateBucket()
    var flags: Flags = []
    /// The number of rooms that it is resuming.
    var resumes: UInt16 = 0
    /// The flush that last wrote to it.
    var flushed: UInt32 = 0
}

extension Connection {
    /// A bit of the serial: this socket gets events, and its client sends nothing. (It is in the serial because all
    /// flags are used, and so the layout of the previous release stays.)
    static let eventsBit: UInt64 = 1 << 63

    @inline(__always)
    var getsEvents: Bool { serial & Self.eventsBit != 0 }

    /// Of a serial: its client understands the frame `move`.
    static let movesBit: UInt64 = 1 << 62

    var understandsMove: Bool { serial & Self.movesBit != 0 }

    /// Smaller for older sockets.
    var age: UInt64 { serial & ~(Self.eventsBit | Self.movesBit) }
}

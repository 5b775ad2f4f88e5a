extension Connection: DescribedRecord {
    static var blank: Connection { Connection(descriptor: -1, generation: 0) }

    /// The fields that another process can use; `flags` travel beside them, by name.
    static let fields = [
        RecordField("serial", \Connection.serial), RecordField("user", \Connection.user),
        RecordField("heard", \Connection.heard), RecordField("deadline", \Connection.deadline),
        RecordField("expires", \Connection.expires), RecordField("issued", \Connection.issued),
        RecordField("tokenID", \Connection.tokenID), RecordField("address", \Connection.address),
        RecordField("bucket", \Connection.bucket),
    ]
}

extension Connection.Flags {
    /// The flags that another process can use.
    private static let names: [(name: String, flag: Connection.Flags)] = [
        ("greeting", .greeting), ("json", .json), ("deflated", .deflated), ("welcomed", .welcomed), ("pinged", .pinged),
        ("probed", .probed), ("readPaused", .readPaused), ("ahead", .ahead),
    ]

    static let handedOver = Connection.Flags(names.map { $0.flag })

    static func write(_ rows: [Connection], to state: inout StateWriter) {
        state.put(UInt32(names.count))
        for (name, flag) in names {
            state.put(name)
            state.put(UInt64(flag.rawValue))
        }
        state.put(array: rows.map { UInt64($0.flags.rawValue) })
    }

    /// Sets the rows' flags; unknown flags are ignored.
    static func read(into rows: inout [Connection], from state: inout StateReader) throws(StateUnreadable) {
        var known: [(theirs: UInt64, ours: Connection.Flags)] = []
        for _ in 0..<(try state.take(UInt32.self)) {
            let (name, theirs) = (try state.takeText(), try state.take(UInt64.self))
            if let ours = names.first(where: { $0.name == name })?.flag { known.append((theirs, ours)) }
        }
        let values = try state.takeArray(UInt64.self)
        guard values.count == rows.count else { throw StateUnreadable(wanted: rows.count, left: values.count) }
        for (place, value) in values.enumerated() {
            for (theirs, ours) in known where value & theirs != 0 { rows[place].flags.insert(ours) }
        }
    }
}

public struct FcgiSettings: Sendable {
    /// The five pools as the settings describe them; ``PoolFolder`` applies the files of `poolsFolder`.
    public var pools: [PoolSettings]
    /// The folder of files with pools; nil: no files are read.
    public var poolsFolder: String?
    /// False: the folder is the installation's own, and may be missing.
    public var isPoolsFolderGiven: Bool
    /// How long a request may have waited for a worker; nil: no limit.
    public var maxWait: Duration?
    /// Requests slower than this go to the slow log; nil: none.
    public var slowAfter: Duration?
    /// A request waits this long for its command's answer before it returns 202 `queued`.
    public var answerTimeout: Duration
    /// Bytes of a JSON body.
    public var maxBody: Int

    init(_ values: inout SettingsReader, runDirectory: String, files: InstalledFiles) {
        let slow = values.milliseconds("FCGI_SLOW_LOG_MS", default: 1000, in: 0...3_600_000).unlessZero
        let wait = values.milliseconds("FCGI_MAX_WAIT_MS", default: 55_000, in: 0...3_600_000).unlessZero
        (slowAfter, maxWait) = (slow, wait)
        pools = [("rooms", 2), ("messages", 4), ("search", 2), ("uploads", 2), ("account", 1)].map { name, workers in
            PoolSettings(
                &values, name: name, runDirectory: runDirectory, workers: workers, maxWait: wait, slow: slow)
        }
        let standard = files.isInstalled ? "/etc/chat/pools.d" : ""
        let folder = values.text("FCGI_POOLS_DIR", default: standard)
        poolsFolder = folder.isEmpty ? nil : folder
        isPoolsFolderGiven = folder != standard
        answerTimeout = values.milliseconds("FCGI_ANSWER_TIMEOUT_MS", default: 5000, in: 10...60_000)
        maxBody = values.number("FCGI_MAX_BODY", default: 65_536, in: 1024...16_777_216)
    }
}

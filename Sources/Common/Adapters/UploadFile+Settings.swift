public import ChatCore
import Glibc
public import Logging

extension UploadFile {
    /// Uses the stores that the settings name; for one thread.
    public convenience init(
        _ settings: Settings, objects: any ObjectStore, database: PostgresConnection, redis: RedisConnection,
        log: Logger
    ) {
        let storage = settings.storage
        self.init(
            UploadStores(
                objects: objects, records: PostgresUploadRecords(database), progress: RedisUploadProgress(redis),
                pause: { usleep(useconds_t($0) * 1000) }, log: log),
            rules: UploadRules(maxSize: Int64(storage.maxUpload), quota: Int64(storage.quota)),
            inspection: InspectFile(
                typer: MagicContentTyper(), scanner: storage.clamd.map { ClamdScanner(address: $0) },
                rules: storage.types, files: DiskWorkFiles(storage.temporaryFolder),
                log: log))
    }
}

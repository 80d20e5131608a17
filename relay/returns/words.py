"""What mail systems say in their own words, in several languages: one ordered list, the first row that fits decides. No I/O.

Only what `relay.delivery.reply_table` does not know: that one reads what servers reply to us; these texts are what they, or the
people who set them up, write in mails about it. A provider's quirk is a row; `tests/returns/` has samples.
"""

from __future__ import annotations

import re

# fmt: off
# Ahead of the table of replies: texts of the reporter's own over a code of another meaning.
_NONEXISTENT = r"\bNXDOMAIN\b|InfoDomainNonexistent"  # DNS said so: that is final, with whatever code
_QUIRKS = [
    ("no_mail_for_domain", r"^([245]\d\d )?(5\.\d\.\d+ )?host does not accept mail"
                           r"|MX or SRV record indicated no SMTP service"),
    ("expired", r"envelope expired"),
    ("no_such_domain", _NONEXISTENT),
    ("spam_suspected", r"message content rejected, UBE"),  # amavis, over any code
]
_PHRASES = [
    # ---- Given up after a time: no word about the address
    ("expired", r"retry time(out)? (not reached|exceeded)|delivery (time )?expired|message (has )?expired"
                r"|message (is )?too old"
                r"|queue(d)? (for )?too long"
                r"|(could|can)not be delivered (for|within|after) [^.]{0,30}(hour|day)|retry timeout"
                r"|time.?out (expired|exceeded)"
                r"|(maximum|max) (delivery )?(time|retries|attempts)|i'm not going to try again"
                r"|giving up on delivery after"
                r"|unable to (deliver|connect)[^.]{0,40}(hours|days)|exceeded (the )?(maximum )?(time|retry)"
                r"|zu lange in der warteschlange|d[ée]lai (de livraison )?(d[ée]pass[ée]|expir[ée])"
                r"|tiempo de espera agotado"),
    # ---- The domain
    ("no_such_domain", r"host or domain name not found|host unknown|name or service not known|domain (name )?not found"
                       r"|non-?existent (hosts?|domain)|couldn'?t find any host( named)?|\bNXDOMAIN\b"
                       r"|unknown (mail )?host"
                       r"|cannot find (mx|the domain|domain)|illegal host/domain|bad destination host"
                       r"|domain( name)?[ (]{0,2}[\w.-]*\)? ?(does not|doesn'?t|didn'?t) (exist|appear to (be registered"
                       r"|exist)|resolve)"
                       r"|no such (host|domain)|invalid domain|domain[^.;]{0,80}not (been )?registered"
                       r"|(?<!name )host not found(?!,? ?(please )?try)|(hostn?ame|domain)[^.;]{0,60}(unresolv|not resolv)"
                       r"|bad destination system|unrouteable mail domain"
                       r"|dom[aä]i?ne?[^.;\n]{0,60}(existiert nicht|nicht (gefunden|registriert)|unbekannt"
                       r"|n['’]?existe pas|inconnu)"
                       r"|dom[ií]ni[oe][^.;\n]{0,60}(no existe|inexist|desconocido|non esiste|n[ãa]o existe|inesistente)"
                       r"|dom[ea]in[^.;\n]{0,60}(bestaat niet|finns inte|findes ikke|nie istnieje)"
                       r"|домен[^.;\n]{0,60}не существует"
                       r"|域名[^。\n]{0,20}(不存在|无法解析)|ドメイン[^。\n]{0,20}(存在しません|見つかりません)"
                       r"|recipient'?s? domain name is incorrect|domain [\w.-]+ (couldn'?t be found|has no)"),
    ("no_mail_for_domain", r"mail server for [\w.-]+ not found|no (mx|mail exchanger|mail server) (record|found|for)"
                           r"|couldn'?t find a mail exchanger|not accepting network messages|null mx"
                           r"|does not accept (any )?(e-?)?mail|recipient domain has no mail|has no mail server"
                           r"|address family not supported|all relevant mx records point to non-existent"),
    ("mail_loop", r"too many hops|mail loops? back|hop ?count exceeded|routing loop|mailschleife|bucle de correo"
                  r"|looping"),
    # ---- No such address
    ("no_such_address",
        r"unrouteable address|unknown (local )?(user|recipient|mailbox|address|account|alias)|user unknown"
        r"|no such (user|mailbox"
        r"|recipient|person|address|account|local)|(user|recipient|mailbox|account|address|e-?mail|alias"
        r"|destinatario|person)"
        r"[^.;\n]{0,60}(doesn'?t exist|does not exist|not exist|couldn'?t be found|could not be found"
        r"|cannot be found|wasn'?t found"
        r"|not (been )?(found|listed|known|recognized|valid|here)|(is|are) (unknown|invalid|incorrect)|unknown|invalid)"
        r"|no mailbox (here|by)|doesn'?t have an? [\w.]+ account|not a (known|valid|local) (user|recipient|mailbox"
        r"|address)"
        r"|(this|the) (user|person) doesn'?t|not (listed )?in (the )?(public )?(name & )?(domino|address|directory"
        r"|public) "
        r"|there is no (user|one|such)|bad (destination )?(mailbox|address|user)|addressee unknown"
        r"|no valid recipients?|(e-?mail )?address wasn'?t found|illegal (user|alias|recipient)"
        r"|invalid final delivery userid|recipient name is not recogni[sz]ed|undeliverable address"
        r"|is not a (known|valid)|user not (found|known)|account (not found|unknown)|invalid (recipient|address|user"
        r"|mailbox)"
        r"|(mailbox|user|recipient|address) not (found|available here)|could ?n[o']t find (the )?(recipient|address"
        r"|user)"
        r"|RecipientNotFound|RecipNotFound|MSEXCH:IMS:.{0,80}\(000C05A6\)|unable to (locate|find) (the )?(user"
        r"|recipient)"
        # German, French, Spanish, Portuguese, Italian, Dutch, Polish, Russian, Japanese, Chinese, Korean, Swedish, Danish,
        # Czech, Turkish
        r"|(empf[äa]e?nger|benutzer|adresse|postfach|konto)[^.\n]{0,60}(existiert nicht|unbekannt|nicht (gefunden"
        r"|bekannt|vorhanden|existiert)"
        r"|ist ung[üu]e?ltig|konnte nicht gefunden)|unbekannter? (empf[äa]nger|benutzer)"
        r"|(adresse|utilisateur|destinataire|bo[iî]te|compte)[^.\n]{0,60}(n['’]?existe pas|inconnue?|introuvable"
        r"|non valide|invalide)"
        r"|(direcci[óo]n|usuario|buz[óo]n|destinatario|cuenta)[^.\n]{0,60}(no existe|desconocid[oa]|no (fue "
        r"|se )?(ha )?(podido )?encontr|inexistente|no es v[áa]lid)"
        r"|(endere[çc]o|usu[áa]rio|destinat[áa]rio|caixa|conta)[^.\n]{0,60}(n[ãa]o existe|desconhecid[oa]"
        r"|n[ãa]o (foi )?encontrad|inexistente|inv[áa]lid)"
        r"|(indirizzo|utente|destinatario|casella|account)[^.\n]{0,60}(non esiste|sconosciut[oa]|inesistente"
        r"|non (è stat[oa] )?trovat|non valid)"
        r"|(adres|gebruiker|ontvanger|postbus)[^.\n]{0,60}(bestaat niet|onbekend|niet gevonden)"
        r"|(adres|użytkownik|skrzynk|odbiorc|kont)[^.\n]{0,60}(nie istnieje|nieznan|nie znalezion|nieprawidłow)"
        r"|(пользовател|адрес|ящик|получател)[^.\n]{0,60}(не существует|не найден|неизвест)"
        r"|ディレクトリの?(リスト)?に(は)?(ありません|見つかりま)|(宛先|ユーザ|受信者|メールアドレス"
        r"|アドレス)[^。\n]{0,40}(リストにありません|存在しません|見つかりません|不明|ありません"
        r"|誤りが|間違)"
        r"|(收件人|收件者|用户|用戶|使用者|地址|邮箱|信箱|郵箱|帐号|账号|帳號)[^。\n]{0,30}(不存在|未找到|找不到|无效"
        r"|無效|不正确|有误)"
        r"|(수신자|사용자|주소|계정|메일함)[^.\n]{0,30}(없습니다|없는|존재하지|찾을 수 없)|(adressen|mottagaren"
        r"|användaren)[^.\n]{0,40}(finns inte|okänd"
        r"|hittades inte|kunde inte hittas|existerar inte)"
        r"|(adressen|modtageren|brugeren)[^.\n]{0,40}(findes ikke|ukendt|finnes ikke|ukjent|eksisterer ikke)|(adresa|uživatel"
        r"|příjemce)[^.\n]{0,40}(neexistuje|neznám|nenalezen)"
        r"|(adres|kullanıcı|alıcı|hesa[bp])[^.\n]{0,40}(bulunamadı|mevcut değil|bilinmiyor|yok\b|geçersiz)"
        r"|(osoite|käyttäjä|vastaanottaja)[^.\n]{0,40}(ei ole olemassa|tuntematon|ei löydy)"
        r"|(διεύθυνση|χρήστης|παραλήπτης)[^.\n]{0,40}(δεν υπάρχει|άγνωστ|δεν βρέθηκε)"
        r"|(felhasználó|cím|címzett|postafiók)[^.\n]{0,40}(nem létezik|ismeretlen|nem található)"
        r"|(adresa|utilizatorul|destinatarul)[^.\n]{0,40}(nu există|necunoscut|nu a fost găsit)"
        r"|(користувач|адрес|скриньк|одержувач)[^.\n]{0,40}(не існує|не знайден|невідом)"
        r"|(המשתמש|הנמען|הכתובת|תיבת)[^.\n]{0,40}(לא קיי?מ|אינ[הו]? קיי?מ|לא נמצא|אינה תקינה)"
        r"|(المستخدم|المستلم|العنوان|البريد|صندوق)[^.\n]{0,40}(غير موجود|لا يوجد|غير معروف|غير صحيح)"
        r"|(địa chỉ|người dùng|người nhận)[^.\n]{0,40}không tồn tại|(alamat|pengguna"
        r"|penerima)[^.\n]{0,40}tidak (ditemukan|ada|dikenal)"
        r"|5\.1\.0 address rejected"),
    # ---- The mailbox
    ("mailbox_full",
        r"(mail ?box|inbox|quota|account|storage|disk|user|recipient)[^.;\n]{0,40}\b(is |was |has )?(full"
        r"|over ?quota|exceeded|overdrawn)|over ?quota"
        r"|(exceed\w*|over|out of)[^.\n]{0,30}(quota|storage|mailbox|disk)|quota (violation|reached)"
        r"|not enough (space|storage|room)"
        r"|insufficient (disk )?(space|storage|quota)|(mailbox|maildir|inbox)[^.\n]{0,20}(size )?limit"
        r"|too much mail data"
        r"|(postfach|mailbox)[^.\n]{0,40}(voll|überschritten|ueberschritten|speicher)|kontingent|speicherplatz"
        r"|(bo[iî]te|quota|messagerie)[^.\n]{0,40}(pleine|d[ée]pass[ée]|satur[ée]e)"
        r"|(buz[óo]n|cuota|bandeja)[^.\n]{0,40}(llen[oa]|lleno|excedid|superad)|(caixa|cota"
        r"|quota)[^.\n]{0,40}(chei[oa]|excedid|lotad|cheia|esgotad)"
        r"|(casella|quota)[^.\n]{0,40}(pien[ao]|superat|esaurit)|(postvak|mailbox|postbus)[^.\n]{0,30}(vol\b|volle)"
        r"|(skrzynka)[^.\n]{0,40}(pełna|przepełnion)|ящик[^.\n]{0,30}(переполнен|заполнен)|(メールボックス|受信箱"
        r"|容量)[^。\n]{0,30}(いっぱい|超過|超え|一杯|フル)"
        r"|(邮箱|信箱|郵箱|空间)[^。\n]{0,20}(已满|已滿|不足|满)|(postlådan|inkorgen)[^.\n]{0,30}full"
        r"|(schránka)[^.\n]{0,30}pln"),
    ("mailbox_disabled",
        r"(account|mailbox|user|address|recipient|e-?mail)[^.;\n]{0,60}(disabled|inactive|deactivated|suspended"
        r"|closed|locked|expired"
        r"|no longer (active|in use|available|valid|exists?|monitored|with|used|on server)|not (active|enabled)"
        r"|discontinued|terminated|cancell?ed|retired)"
        r"|no longer (on server|accepts?|works?|employed)|inactive (user|account|mailbox)|(deleted|disabled) (user"
        r"|account|mailbox)"
        r"|(konto|postfach|adresse|mailbox|benutzer)[^.\n]{0,60}(deaktiviert|gesperrt|gek[üu]e?ndigt|geschlossen"
        r"|gel[öo]e?scht|aufgel[öo]e?st"
        r"|stillgelegt|nicht mehr (aktiv|g[üu]ltig|verwendet|in gebrauch|vorhanden))"
        r"|(compte|bo[iî]te|adresse|messagerie)[^.\n]{0,60}(d[ée]sactiv|suspendu|ferm[ée]|supprim[ée]|r[ée]sili[ée]|cl[oô]tur"
        r"|n['’]est plus (active|valide|utilis))"
        r"|(cuenta|buz[óo]n|direcci[óo]n|usuario)[^.\n]{0,60}(desactivad|deshabilitad|suspendid|cancelad|eliminad|cerrad"
        r"|dad[oa] de baja)"
        r"|(conta|caixa|endere[çc]o|usu[áa]rio)[^.\n]{0,60}(desativad|inativ|suspens|encerrad|exclu[íi]d|cancelad|removid"
        r"|bloquead)"
        r"|(casella|account|utente|indirizzo)[^.\n]{0,60}(disabilitat|disattivat|sospes|chius[oa]|cancellat|eliminat"
        r"|non (è )?più attiv)"
        r"|(postbus|mailbox|adres|account)[^.\n]{0,60}(opgeheven|gesloten|verwijderd|geblokkeerd|niet meer (actief"
        r"|in gebruik))"
        r"|(skrzynk|kont|adres)[^.\n]{0,60}(usunięt|zamknięt|zablokowan|nieaktywn|wyłączon|zlikwidowan)"
        r"|(ящик|аккаунт|адрес|уч[её]тная запись)[^.\n]{0,60}(заблокирован|отключ|неактив|удал[её]н|закрыт|больше не)"
        r"|(kontot|postlådan|brevlådan|adressen|postkassen|kontoen)[^.\n]{0,40}(avslut|stängd|stängt|inaktiv|spärra"
        r"|lukket|stengt|nedlagt"
        r"|slettet|deaktiver)"
        r"|(schránka|účet|adresa)[^.\n]{0,40}(zrušen|zablokov|deaktivov|neaktivn)|hesa[bp][^.\n]{0,40}(kapatıl|devre dışı"
        r"|askıya|silin)"
        r"|(アカウント|メールボックス|アドレス)[^。\n]{0,30}(停止|無効|解約|閉鎖|削除|退会|利用されていません"
        r"|使われておりません)"
        r"|(帐号|账号|帳號|账户|邮箱|郵箱|信箱|用户)[^。\n]{0,20}(停用|注销|註銷|禁用|冻结|凍結|关闭|封停|锁定)"
        r"|(계정|메일함|사용자)[^.\n]{0,30}(휴면|해지|정지|탈퇴|비활성)"),
    ("mailbox_moved", r"has (moved|left the|changed)|new (e-?mail )?address (is|:)|ist umgezogen|neue adresse"
                      r"|nouvelle adresse|nueva direcci"),
    # ---- Refused
    ("recipient_restricted", r"not (allowed|authori[sz]ed|permitted) to (send|submit)[^.\n]{0,50}(to|mail|message)"
                             r"|only accepts? (messages|mail|e-?mails?)"
                             r"|(sender|you) (is|are) not (allowed|authorized|in the|on the)|restricted (to|from)"
                             r"|permission to (send|submit)"
                             r"|members.?only|not a member|moderated|wasn'?t authori[sz]ed|keine berechtigung"
                             r"|only (members|subscribers)"),
    ("spam_suspected", r"\bspam\b|unsolicited|\bjunk\b|considered spam|bulk e?mail|(als|comme|como) spam|スパム|迷惑メール"
                       r"|垃圾|correo no deseado|pourriel|спам"),
    ("virus_suspected", r"\bvirus|malware|infected|trojan|ウイルス|病毒|вирус|schadsoftware"),
    ("message_too_large", r"(message|mail|e-?mail|attachment|nachricht|it|size|messaggio|mensaje"
                          r"|mensagem)[^.;\n]{0,40}(too (large|big)|exceed\w*|zu gro(ss|ß)|überschreitet|trop (gros"
                          r"|volumineux)"
                          r"|demasiado grande|muito grande|troppo grande|larger than)|(size|gr[öo](ss|ß)e|taille"
                          r"|tama[ñn]o|tamanho|dimension)\w*[^.\n]{0,30}(limit|exceed|überschr|d[ée]pass|exced)"
                          r"|maximum (message )?size|(サイズ|容量)[^。\n]{0,20}(大きすぎ|上限|制限)"
                          r"|邮件[^。\n]{0,10}(过大|太大)"),
    ("content_rejected", r"(content|attachment|file)[^.\n]{0,40}(not (allowed|permitted)|block|reject|prohibit|strip"
                         r"|filter|banned|policy)|content (filter|policy)|unerlaubter? anhang"
                         r"|pièce jointe[^.\n]{0,30}(interdit|bloqu)"),
    ("relay_denied", r"relay(ing)?[^.\n]{0,30}(denied|not (allowed|permitted)|prohibited|refused)|not (a )?(gateway"
                     r"|relay)|we do not relay"),
    ("policy", r"\bpolic(y|ies)\b|\bblocked\b|rejected (by|for)|abgelehnt|refus[ée]|rechazad[oa]|rejeitad[oa]"
               r"|rifiutat|отклонен|拒否|拒绝|access denied|administrative prohibition|blocklist"),
]
# A failure on the way, not an answer: final only because the reporter gave up.
_ON_THE_WAY = (
    r"connection (timed out|refused|reset|closed|lost|dropped|failed)|no route to host|network (is )?unreachable"
    r"|(lost|dropped) connection"
    r"|could ?n[o']t (connect|establish|reach)|unable to connect|cannot connect|(timed out|timeout) (while|waiting"
    r"|on)|operation timed out|conversation with"
    r"|temporar(y|ily)|try again|name service (error|failure)[^.\n]{0,60}(try again|timed)|dns (error|failure"
    r"|timeout|query failed)|not respond(ing)?|no answer|mail server (is )?(down|unreachable)"
    r"|(hat nicht geantwortet|nicht erreichbar|keine verbindung|zeit[üu]berschreitung)"
)
# fmt: on

QUIRKS = tuple((reason, re.compile(pattern, re.I)) for reason, pattern in _QUIRKS)
PHRASES = tuple((reason, re.compile(pattern, re.I)) for reason, pattern in _PHRASES)
NONEXISTENT = re.compile(_NONEXISTENT)
ON_THE_WAY = re.compile(_ON_THE_WAY, re.I)

# ---- Of a whole mail: what it wants to tell

FAILURE_SUBJECT = re.compile(
    r"undeliver|(mail|message|delivery)[^:]{0,40}fail|fail(ed|ure)|returned (mail|e?mail|to sender)"
    r"|could not (be )?(deliver|sent)|couldn'?t be delivered"
    r"|non-?deliver|delivery (status notif|report|error|problem|has failed)|nondeliverable|rejected:|bounce"
    r"|mail (system )?error|not delivered|unable to deliver"
    r"|warning: message|returning message|user unknown|delivery notification|problem delivering"
    r"|message (you sent )?(was )?(blocked|rejected)|blocked (mail|message)"
    r"|unzustellbar|nicht zugestellt|zustell(ung|fehler)|unzustellbarkeit|nicht (übermittelt|ausgeliefert)"
    r"|non (remis|distribu)|[ée]chec (de|d[’'])|message non|retour[^:]{0,10} exp[ée]diteur"
    r"|no se (ha )?(pudo|puede|podido)[^:]{0,20}entreg|devuelto|correo no entregado|no entregad|falha"
    r"|n[ãa]o (foi )?(entregue|pôde)|erro (na|de) entrega|mancata (consegna|recapito)|non recapitabile"
    r"|impossibile (recapitare|consegnare)"
    r"|onbestelbaar|niet (bezorgd|afgeleverd)|nie (dostarcz|można)|niedostarcz|zwrot|не (доставлен|удалось)|недостав"
    r"|ошибка доставки|配信(不能|エラー|できません)|送信エラー|エラーメール|不達|未达|退信|投递失败|无法(投递|送达)|傳遞失敗"
    r"|전송 실패|반송|leverans|kunde inte levereras|olevererbar|kunne ikke leveres|nedoruč|iletilemedi|teslim edilemedi"
    r"|iletil[ae]m|teslim edilem"
    r"|b[łl][ąa]d (dostarcz|dor[ęe]cz|wysy)|niedor[ęe]cz|nie dor[ęe]cz|fout bij (de )?(aflever|bezorg|verzend)|niet (ge"
    r"|be)lever"
    r"|不能投递|投递失敗|投遞失敗|退回|无法发送|發送失敗|发送失败|傳送失敗|システムエラー|届きません|전달 ?(실패|되지)"
    r"|발송 ?실패|되돌아"
    r"|ei (voitu|toimitettu)|toimitusvirhe|kézbesíthetetlen|kézbesítési hiba|nu a (putut|fost) (fi )?livr|nelivrat"
    r"|не вдалося|не доставлено"
    r"|kan(de)? ikke (leveres|levere)|fejl ved levering|leveringsfeil|feil ved|misslyckad|ikke levert|nem (lehetett|sikerült)"
    r"|μη παραδο|δεν (ήταν δυνατή|παραδόθηκε)|לא נמסר|נכשל|تعذر|فشل|لم يتم (تسليم|توصيل)|không (gửi|chuyển|thể)"
    r"|gagal (terkirim|dikirim)"
    r"|kembali ke pengirim|refus[ée]? (de|d[’'])|rifiutat|ritorno al mittente|rechazad|rejeitad|abgewiesen|abgelehnt"
    r"|geweigerd",
    re.I,
)
FAILURE_WORDS = re.compile(
    r"could ?n[o']t (be )?(deliver|sent|reach)|was(n'?t| not) (delivered|able)|(unable|failed|not able"
    r"|impossible) to (deliver|send|be deliver)|undeliverable|undelivered|delivery (to|of|failed|failure|has failed"
    r"|error)"
    r"|permanent(ly)? (fatal )?(error|fail)|fatal error|returned (to|mail)|message (was )?(not|rejected|refused"
    r"|returned|blocked|bounced)|did not reach|following (recipient|address|error|destination|mail)|non-?delivery"
    r"|has failed|rejected your message|not been delivered|was blocked by"
    r"|had (problems|permanent|errors)|reason (for|of)|can ?not (be )?deliver|not be delivered|i wasn't able"
    r"|unzustellbar|nicht (zugestellt|ausgeliefert|zustellbar)|abgewiesen|nicht an den empf[äa]e?nger"
    r"|konnte[n]? nicht|n['’]a (pas )?pu être|no (pudo"
    r"|se pudo|puede)|n[ãa]o (pôde|foi|pode)|non (è stato|può)"
    r"|配信でき|送信でき|届けでき|配送でき|エラー|无法|失败|被退回"
    r"|не (была|был|может|удалось)|mailbox (is )?full|user unknown|no such user"
    r"|nie (dotarł|został|można|mogł)|niet (worden )?(bezorgd|afgeleverd|geleverd)|(kunde|kunne|kan) (inte|ikke)"
    r"|nem (lehetett|sikerült|volt)"
    r"|退回|退信|投递|送达|無法|失敗|되지 (않|못)|실패|iletilemedi|teslim edilemedi|nemohla? být|nebyla? doručen"
    r"|nu a putut|не вдалося"
    r"|ei voitu|δεν (ήταν δυνατή|παραδόθηκε)|לא (ניתן|נמסר)|تعذر|فشل|không thể|tidak (dapat|terkirim)"
    r"|does ?n[o']t exist",
    re.I,
)
DELAY_SUBJECT = re.compile(
    r"delay|warning: (could not|message|mail)|still (trying|being)|(not yet|hasn'?t been) (been )?delivered"
    r"|verz[öo]ge?r|retard|retras|demora|atras|ritard|vertrag|opóźni|задерж|遅延|延迟|延誤|försen|temporar(y"
    r"|ily)[^:]{0,20}(fail|unable|problem)",
    re.I,
)
DELAY_WORDS = re.compile(
    r"warning message only|(do|you do) not (have|need) to (resend|re-send|do anything)|will (be |continue "
    r"|keep )?(be )?(retr|try|attempt)[^.\n]{0,60}|(delivery|it) (attempts )?will (continue|be retried)"
    r"|not (yet )?(been )?delivered[^.\n]{0,40}\byet\b"
    r"|will keep trying|(waiting|remains?|is|still) in (the|our|its) (retry |delivery |mail )?queue|next (attempt|try"
    r"|retry) (in|at|will)"
    r"|attempts? (to deliver )?(will )?(go|goes|continue)"
    r"|no action is required|has been delayed|is (still )?delayed|still (trying|in the queue)|temporary (problem"
    r"|failure|error)[^.\n]{0,80}(retry|again)|weiterhin versucht|erneut(en)? (versuch|zuzustell)|verz[öo]gert"
    r"|nouvelles? tentatives?|se seguir[áa]|continuar[áa]|再送|再試行",
    re.I,
)
DAEMON = re.compile(
    r"mailer.?daemon|post[ _]?master|mail.?delivery|delivery.?(sub)?system|mail ?daemon|mailadmin|mail administrator"
    r"|(network|system) (mail )?administrator|mdaemon|microsoft exchange|exchange server|mail system"
    r"|e?-?mail[ -]?gateway|smtp ?gateway|mxserver"
    r"|daemon@|systemadministrator|delivery notification|nondelivery|virenscanner|mailsweeper|antispam"
    r"|anti-spam|mailguard|mimesweeper|internet mail|mail router|emailer|symantec|groupwise|zustell",
    re.I,
)

"""The words that tell a task: one list per marker, in many languages. Data only; `classify` says what they weigh.

Phrases are in lower case, separated by commas or line ends: English first, then other languages in Latin script, then
Cyrillic, Chinese, Japanese, Korean, Arabic, Hindi. A phrase matches whole words; in scripts that do not write words
apart (Han, kana, Hangul, Devanagari) it matches anywhere. A longer phrase hides a shorter one that begins at the same
word: `draw a conclusion` is not `draw`.
"""

MARKERS: dict[str, str] = {
    # translation
    "translate": """
        translate, translates, translated, translating, translation, translations, translator, interpreter, übersetze
        übersetzen, übersetzt, übersetz, übersetzung, ins deutsche, ins englische, ins französische, traduis
        traduisez, traduire, traduit, traduction, traducteur, traductrice, traduce, traducir, traduzca, traduzcas
        traduzco, tradúceme, traducción, traductor, traduceme, traduci, traduca, tradurre, tradurmi, traduzione
        traduttore, traducimi, traduza, traduz, traduzir, traduzas, tradução, tradutor, traduza-me, vertaal, vertalen
        vertaalt, vertaling, vertaler, переведи, переведите, перевести, перевод, перевода, переводчик, переводи
        переклади, перекласти, çevir, çevirin, çevirir, çevirisi, çevirisini, çeviri, çeviriniz, çevirebilir
        çevirmen, tercüme, przetłumacz, przetłumaczyć, tłumacz, tłumaczenie, przełóż, przeloz, przetlumacz, översätt
        oversæt, oversett, přelož, přeložte, käännä, traduceți, tradu, fordítsd, переведіть, dịch, terjemahkan
        terjemahan, μετάφρασε, μεταφράστε, 翻译, 翻譯, 译成, 譯成, 译为, 翻成, 英译, 中译, 汉译, 翻訳, 訳して, 訳す
        和訳, 英訳, 日本語に直して, 英語に直して, 번역, 옮겨줘, 통역, ترجم, ترجمة, ترجمه, الترجمة, अनुवाद, तर्जुमा
        แปล, localize, localise, localization, subtitles in, render into, render this in, put this into, put it into
        put that into, menerjemahkan, alih bahasakan, terjemah, phiên dịch, bản dịch, перекладіть, переклад
        μετάφραση, μεταφράσω, תרגם, תרגמי, תרגמו, לתרגם, תרגום, অনুবাদ, তর্জমা, přeložit, překlad, prelož
        översättning, oversettelse, oversættelse, käännös, suomenna, traducere, fordítás, lefordít, lefordítani
        மொழிபெயர், అనువద, ترجمہ, tafsiri, isalin, 日译, 法译, 德译, 俄译, 韩译, 西译, 意译成, 译文, 译一下, 译出
        訳せ, 訳し, 訳を, 韓国語訳, 中国語訳, 日本語訳, 英語訳, 번역문, 영역, 한역, 국역, translate from
        traducción al, traduce al, traductions, übertrage ins, übertragen sie ins, auf deutsch übersetzt, tradúzcalo
        tradúcelo, traduis-moi, traduisez-moi
        """,
    "say_in": """
        how do you say, how would you say, how do i say, how to say, how can i say, said in, say in, word for
        what is the word for, wie sagt man, wie heißt das, wie sage ich, comment dit-on, comment dit on, comment dire
        comment on dit, que veut dire, cómo se dice, como se dice, cómo digo, come si dice, come dico, como se diz
        como digo, hoe zeg je, wat betekent, как сказать, как будет по, как по, nasıl denir, nasıl söylenir, ne demek
        jak się mówi, jak powiedzieć, jak jest po, 怎么说, 怎麼說, 用英语怎么, 何と言, なんと言, なんて言, 뭐라고 해
        뭐라고 하, 어떻게 말해, كيف تقول, كيف أقول, ماذا تعني, कैसे कहते, कैसे कहें, spanish for, french for
        german for, italian for, japanese for, chinese for, russian for, portuguese for, latin for, mean in english
        means in english, mean in german, mean in spanish, mean in french, mean in italian, mean in japanese
        mean in chinese, mean in russian, was heißt, was bedeutet auf, what does this say, whats this say
        what s this say, what does this mean in english, what does it say in english, は英語で, を英語で, って英語で
        英語でどう, 英語で何, 日本語でどう, 영어로 뭐, 영어로 어떻게, 用英语怎么说, 用英文怎么说, 英语怎么说
        英文怎么说, 怎么翻, 用日语怎么说, 用法语怎么说, 法语怎么说, 日语怎么说, versions of these, english version of
        spanish version of, french version of, german version of, wie heißt das auf, was heißt das auf
        how do they say, como falo, come si scrive in, po angielsku to, как по-английски, как по-немецки
        как по-французски, как будет по-английски
        """,
    "to_language": """
        to english, to french, to german, to spanish, to italian, to portuguese, to dutch, to russian, to chinese
        to japanese, to korean, to arabic, to hindi, to turkish, to polish, to czech, to ukrainian, to hebrew
        to swedish, to latin, to greek, to vietnamese, to mandarin, to simplified chinese, to traditional chinese
        to brazilian portuguese, to thai, to danish, to finnish, to romanian, into english, into french, into german
        into spanish, into italian, into portuguese, into dutch, into russian, into chinese, into japanese
        into korean, into arabic, into hindi, into turkish, into polish, into czech, into ukrainian, into hebrew
        into swedish, into latin, into greek, into vietnamese, into mandarin, into simplified chinese, into urdu
        into bengali, in english, in french, in german, in spanish, in italian, in portuguese, in dutch, in russian
        in chinese, in japanese, in korean, in arabic, in hindi, in turkish, in polish, in czech, in ukrainian
        in hebrew, in swedish, in latin, in mandarin, from english, from french, from german, from spanish
        from italian, from russian, from chinese, from japanese, from korean, auf deutsch, auf englisch
        auf französisch, auf spanisch, auf italienisch, auf russisch, auf chinesisch, auf japanisch, en anglais
        en français, en espagnol, en allemand, en italien, en chinois, en japonais, en russe, en arabe, al inglés
        al español, al francés, al alemán, al ingles, al espanol, en inglés, en español, en francés, en alemán
        al italiano, in inglese, in italiano, in francese, in tedesco, in spagnolo, in giapponese, in cinese
        dall inglese, dal francese, para inglês, para o inglês, para português, para o português, em inglês
        em português, para espanhol, para o francês, naar het engels, naar het nederlands, naar het frans
        naar het duits, in het engels, in het nederlands, in het frans, на английский, на русский, на немецкий
        на французский, на испанский, на китайский, по-английски, по английски, по-русски, ingilizceye, türkçeye
        almancaya, fransızcaya, ingilizce, na angielski, na polski, na niemiecki, po angielsku, po polsku, 成英文
        成中文, 成英语, 成汉语, 成法语, 成日语, 成德语, 为英文, 为中文, 英語に, 日本語に, 中国語に, フランス語に
        ドイツ語に, 영어로, 한국어로, 일본어로, 중국어로, 프랑스어로, 독일어로, إلى الإنجليزية, إلى العربية
        الى الانجليزية, بالفرنسية, अंग्रेज़ी में, अंग्रेजी में, हिंदी में, हिन्दी में, into romanian, into hungarian
        into indonesian, into thai, into danish, into finnish, into norwegian, into persian, into farsi
        into brazilian portuguese, into tamil, to urdu, to bengali, to persian, to farsi, to indonesian, to norwegian
        to hungarian, to tamil, to swahili, to tagalog, to malay, ke bahasa, ke dalam bahasa, sang tiếng, ra tiếng
        เป็นภาษา, українською, англійською, на англійську, на українську, στα αγγλικά, στα ελληνικά, לאנגלית, לעברית
        لעברית, به انگلیسی, به فارسی, ইংরেজিতে, বাংলায়, do angličtiny, do češtiny, till engelska, till svenska
        på engelska, på svenska, til engelsk, til norsk, til dansk, englanniksi, suomeksi, angolra, magyarra
        în engleză, în română, ins spanische, ins italienische, ins polnische, ins russische, ins japanische
        ins chinesische, auf polnisch, auf portugiesisch, auf arabisch, auf türkisch, vers le français
        vers l'anglais, en portugais, en néerlandais, en turc, en polonais, en coréen, al portugués, al chino
        al japonés, al árabe, al ruso, em espanhol, em francês, em alemão, para alemão, in polacco, in russo
        in portoghese, in arabo, na rosyjski, na hiszpański, na francuski, po niemiecku, po hiszpańsku
        на итальянский, на японский, на украинский, на турецкий, на польский, по-китайски, rusçaya, ispanyolcaya
        arapçaya, 成韩语, 成俄语, 成西班牙语, 成葡萄牙语, 成意大利语, 成阿拉伯语, 成英語, 成日文, 成法文, 成德文
        为英语, 为日语, 为法语, 为德语, 韓国語に, スペイン語に, ロシア語に, ポルトガル語に, 스페인어로, 러시아어로
        베트남어로, إلى الفرنسية, إلى الإسبانية, إلى الألمانية, स्पेनिश में, फ्रेंच में
        """,
    "language": """
        english, german, french, spanish, italian, portuguese, dutch, russian, chinese, mandarin, cantonese, japanese
        korean, arabic, hindi, urdu, bengali, turkish, polish, czech, slovak, hungarian, romanian, bulgarian, greek
        swedish, norwegian, danish, finnish, icelandic, ukrainian, hebrew, thai, vietnamese, indonesian, malay
        swahili, persian, farsi, tagalog, latin, welsh, irish, catalan, georgian, armenian, deutsch, englisch
        französisch, spanisch, italienisch, portugiesisch, russisch, chinesisch, japanisch, finnisch, anglais
        allemand, espagnol, italien, portugais, russe, chinois, japonais, arabe, inglés, alemán, francés, italiano
        portugués, ruso, chino, japonés, inglese, tedesco, francese, spagnolo, portoghese, inglês, alemão, francês
        espanhol, engels, duits, frans, spaans, английски, по-английски, по-немецки, по-французски, по-испански
        по-грузински, по-японски, английский, немецкий, французский, испанский, ingilizce, almanca, fransızca
        angielski, niemiecki, 英文, 英语, 法语, 德语, 日语, 西班牙语, 英語, フランス語, ドイツ語, 영어, 일본어
        중국어, بالعربية, بالإنجليزية, الإنجليزية, अंग्रेज़ी
        """,
    "quoted_words": """
        this sentence, sentence, the word, word, words, phrase, expression, this message, message, the following
        following, this text, strings, means, mean, version of, put this, i need this, diesen satz, das wort
        diese nachricht, heißt, cette phrase, ce message, le mot, mettre, esta frase, este mensaje, la palabra
        lo pongas, questa frase, esta mensagem, как будет, это предложение, слово, معنى, كلمة
        """,
    # summarization
    "summarize": """
        summarize, summarise, summarizing, summarising, summarized, summarization, summary, summaries, recap, précis
        synopsis, sum up, sum the following, sum this, fasse, fassen sie, zusammenfassen, zusammenfassung
        zusammengefasst, zusammen fassen, kurzfassung, résume, résumez, résumer, résumé, synthèse, synthétise
        fais un résumé, resume ce, resume, resumir, resumen, resúmeme, resumirme, resumas, resúmelo, haz un resumen
        sintetiza, riassumi, riassumere, riassunto, riassumimi, riepiloga, riepilogo, sintetizza, sintesi, resuma
        resumo, resumindo, sintetize, faça um resumo, vat, samenvatten, samenvatting, samengevat, резюмируй
        резюмируйте, кратко перескажи, перескажи, суммируй, суммаризируй, краткое содержание, краткий пересказ
        обобщи, подведи итог, резюме, сделай выжимку, выжимка, özetle, özetler, özeti, özetini, özet, özetleyin
        özetleyebilir, streść, stresc, streszczenie, podsumuj, podsumowanie, streścić, sammanfatta, shrň, shrnutí
        tóm tắt, ringkas, ringkaskan, rangkum, rezumă, tiivistä, περίληψη, 总结, 總結, 概括, 摘要, 概述, 归纳, 缩写这
        提炼, 概要, 要約, まとめて, 要点を, 概要を, サマリー, 요약, 간추려, 정리해, لخص, لخّص, تلخيص, ملخص, ملخصا
        ملخصًا, اختصر, सारांश, संक्षेप में बता, संक्षेप, выжимку, краткую выжимку, resumo curto, ringkasan, rangkuman
        ikhtisar, tóm lược, สรุป, підсумуй, підсумок, стисло перекажи, коротко перекажи, резюмуй, συνόψισε, σύνοψη
        סכם, סכמי, סכמו, תקציר, סיכום, לסכם, خلاصه, خلاصهٔ, خلاصه‌ای, چکیده, সারাংশ, সারসংক্ষেপ, সংক্ষেপ, shrnout
        shrňte, sammanfattning, oppsummer, sammendrag, opsummer, sammenfat, tiivistelmä, yhteenveto, rezumat
        rezumați, foglald össze, összefoglaló, összefoglal, összegezd, خلاصہ, muhtasari, fupisha, ibuod, buod, 壓縮
        缩写, 浓缩, 精简成, 精简为, 综述一下, 归纳一下, 梗概, 短くまとめ, まとめよ, 要旨, 줄여, 요지, 압축해
        fais la synthèse, résume-moi, resumir en, resume en, resume el, resume la, resume este, resume esta
        zusammenfasst, zusammen in, komprimiere, verdichte, 压缩成, 压缩到, 压缩为, 缩短成, 缩短到, 会议纪要
        """,
    "main_points": """
        main points, key points, main idea, main ideas, main point, key takeaways, takeaways, key ideas
        most important points, the gist, gist, essential points, highlights of, boil down, boils down, distill
        distil, condense, condensed, in a nutshell, executive summary, what is this article about
        what is this text about, what is the article about, what is the text about, headline for, wichtigsten punkte
        hauptpunkte, kernaussagen, kernpunkte, das wichtigste, points clés, points principaux, idées principales
        l essentiel, puntos clave, puntos principales, ideas principales, lo más importante, punti chiave
        punti principali, pontos principais, pontos-chave, hoofdpunten, belangrijkste punten, основные мысли
        основные идеи, главные мысли, ключевые моменты, главное из, о чем этот, главную мысль, ana fikir
        ana noktalar, önemli noktaları, główne punkty, najważniejsze punkty, najważniejsze informacje, ý chính
        poin utama, 主要内容, 主要观点, 主旨, 大意, 中心思想, 要点, 核心内容, 核心信息, 主な内容, ポイントを, 핵심
        요점, النقاط الرئيسية, الفكرة الرئيسية, أهم النقاط, मुख्य बिंदु, मुख्य विचार, boil this down, boil it down
        boil that down, action items, decisions and action items, list the decisions, basically saying
        what is this saying, what s this saying, what s this article, what is this article, what does this article
        what s this text, short version of, shorten this, worum geht es in, worum geht s, kernaussage, de quoi parle
        de qué trata, de que trata, di cosa parla, do que se trata, waar gaat dit over, о чём, о чем, что говорится
        w skrócie, minutes of the meeting, meeting minutes, short summary, quick summary, abstract of, key message
        key messages, overview of this, overview of the document, one paragraph overview, what does he want
        what do they want, what does she want, bullet points of, 見出し, タイトルをつけ, タイトルを付け, 제목을 붙
        제목을 지어, title for the text, title for this, title for the article, title for the following, headline of
        write a headline, generate a title, suggest a title, suggest a headline, give a title, titre pour, un titre à
        título para, titolo per, titel für, überschrift für, заголовок к, заголовок для, придумай заголовок
        başlık bul, what was decided, who promised what, who has to do what, decisions, next steps from
        write highlights, core message, most important information, key findings, main findings, key facts
        the essentials, key decisions, important parts, what are they saying, 主要讲了, 讲了什么, 说的是什么
        核心观点, 主要意思, 何が書かれて, 何を言って, ポイントを三, 要するに, 무슨 내용, 핵심만, 주요 내용, inti dari
        pokok pikiran, ประเด็นสำคัญ, ใจความ, головні думки, головне з, κύρια σημεία, עיקרי, הנקודות העיקריות
        نکات مهم, نکات اصلی, মূল বক্তব্য, মূল কথা, hlavní body, huvudpunkter, huvudpunkterna, viktigaste, pääkohdat
        főbb pontok, ideile principale, write the minutes, compte rendu, protokoll schreiben, acta de la reunión
        verbale della riunione, ata da reunião, 抓重点, 抓重點, 划重点, 讲重点, 3行で, 三行で, ざっくり教えて
        세줄요약, 세 줄로, i only want what, just the important, catch me up, what did i miss, what do i need to know
        give me the short version, the short version, pros cons verdict, handover note, digest of, boil down to
        краткий протокол, основные тезисы, тезисно, главные тезисы, konkret zusammengefasst
        los puntos más importantes
        """,
    "tldr": "tldr, tl dr, too long didn t read, too long didnt read, abstract for, short abstract",
    "in_brief": """
        in a few words, in one sentence, in two sentences, in three sentences, in a sentence, in one paragraph
        in short, one line, shorten, shorter version, in fewer words, in 3 sentences, in 2 sentences
        in 5 bullet points, bullet points, in brief, briefly, brief, in under, in einem satz, in zwei sätzen
        in drei sätzen, kürze, stichpunkten, kurz, en une phrase, en deux phrases, en trois phrases, en quelques mots
        brièvement, en una frase, en dos frases, en tres frases, en pocas palabras, brevemente, in una frase
        in due frasi, in poche parole, em uma frase, em poucas palavras, in één zin, in het kort, в одном предложении
        в двух предложениях, вкратце, кратко, bir cümlede, tek cümleyle, kısaca, w jednym zdaniu, w kilku zdaniach
        krótko, 一句话, 几句话, 两句话, 三句话, 简短, 简要, 一文で, 短く, 簡潔に, 한 문장, 세 문장, 짧게, 간단히
        في جملة, باختصار, एक वाक्य, तीन वाक्य, 标题, 起个题目, title, titre, título, titolo, titel, überschrift
        заголовок, başlık, 제목, タイトル
        """,
    "the_text": """
        article, articles, passage, paragraph, transcript, meeting notes, the following text, this text, text below
        the text, document, documents, news story, report below, this report, the report, email thread, this email
        this conversation, the conversation, this thread, this paper, the paper, excerpt, artikel, absatz
        folgenden text, diesen text, den text, dokument, bericht, texte suivant, ce texte, cet article, l article
        paragraphe, document suivant, siguiente texto, este texto, el texto, artículo, párrafo, seguente testo
        questo testo, il testo, articolo, paragrafo, texto a seguir, o texto, artigo, parágrafo, deze tekst, de tekst
        volgende tekst, текст, статью, статьи, статья, абзац, отрывок, metni, metin, makaleyi, yazıyı, tekst, artykuł
        akapit, 文章, 文本, 短文, 段落, 以下内容, 上文, 这段, 这篇, 新闻, 記事, 次の文章, この文章, 文書, 기사
        다음 글, 이 글, 텍스트, النص, المقال, الفقرة, लेख, पाठ, गद्यांश, अनुच्छेद, meeting transcript, this story
        the story below, transcript below, chat log, call transcript, dieser artikel, diesem artikel, este artículo
        quest articolo
        """,
    # coding
    "code_thing": """
        python, javascript, typescript, java, kotlin, golang, rust, c++, c#, php, perl, haskell, scala, matlab
        fortran, cobol, vba, powershell, bash, zsh, html, css, sql, mysql, postgres, postgresql, sqlite, mongodb
        redis, graphql, json schema, yaml, xml, dockerfile, docker, kubernetes, terraform, ansible, react, reactjs
        vue, angular, svelte, nextjs, next js, node js, nodejs, django, flask, fastapi, spring boot, laravel, rails
        dotnet, asp net, jquery, tailwind, bootstrap, numpy, pandas, pytorch, tensorflow, scikit, sklearn, matplotlib
        opencv, selenium, pytest, junit, webpack, npm, pip, conda, maven, gradle, cmake, makefile, gcc, clang, regex
        regexp, regular expression, regular expressions, regulären ausdruck, expression régulière, expresión regular
        espressione regolare, expressão regular, регулярное выражение, wyrażenie regularne, leetcode, codeforces
        hackerrank, stack overflow, stackoverflow, github, gitlab, api endpoint, rest api, unit test, unit tests
        pull request, source code, codebase, pseudocode, pseudo code, stack trace, stacktrace, traceback
        segmentation fault, segfault, null pointer, nullpointerexception, syntax error, compile error, compiler error
        runtime error, arduino, esp32, raspberry pi, verilog, vhdl, assembly code, cuda, opengl, shader, unity script
        solidity, latex code, tikz, svg, mermaid, ascii art, crontab, cron, systemd, nginx, linux command
        shell script, linked list, binary tree, binary search, hash map, hashmap, hash table, dynamic programming
        quicksort, merge sort, bubble sort, sorting algorithm, graph traversal, depth first search
        breadth first search, big o, quellcode, código fuente, code source, codice sorgente, código-fonte, broncode
        исходный код, kaynak kod, kod źródłowy, питон, питоне, пайтон, джава, 代码, 程式碼, 代碼, 编程语言, 程式設計
        正则表达式, 脚本, 数据库查询, 源码, コード, プログラミング, プログラムを, スクリプト, 正規表現, アルゴリズム
        파이썬, 자바, 코드, 프로그래밍, 스크립트, 알고리즘, بايثون, جافا, كود, برمجة, برنامج بلغة, خوارزمية, पायथन
        पाइथन, जावा, कोड, एल्गोरिदम, प्रोग्राम, div, flexbox, css grid, for loop, while loop, if statement
        switch statement, list comprehension, async await, asyncio, callback, callbacks, promise chain, dataframe
        data frame, query plan, docker compose, localhost, connection refused, environment variable
        environment variables, kubectl, git rebase, git merge, merge conflict, git commit, git branch, virtualenv
        venv, tsconfig, useeffect, usestate, middleware, hibernate, entity framework, linq, lambda function
        try catch, try except, typeerror, keyerror, valueerror, attributeerror, nameerror, importerror
        modulenotfounderror, indexerror, index out of range, undefined is not, nullreferenceexception, malloc
        foreign key, primary key, left join, inner join, stored procedure, sql query, excel formula, vlookup
        google sheets formula, dll, websocket, websockets, oauth, jwt, http request, http requests, json file
        csv file, config file, log file, chmod, grep, awk, vscode, visual studio, android studio, xcode, swiftui
        flutter, lua, ruby on rails, elixir, erlang, clojure, ocaml, prolog, abap, mips, x86, fpga, microcontroller
        kafka, rabbitmq, elasticsearch, pyspark, hadoop, bigquery, aws lambda, s3 bucket, ec2, firebase, supabase
        prisma, express js, nestjs, three js, wordpress plugin, roblox, godot, pygame, web scraper, scraper, crawler
        type hints, decorator, generator function, event listener, dropdown, css selector, media query, data class
        dataclass, abstract class, inheritance, dependency injection, thread pool, lru cache, unit testing
        integration test, load balancer, rest apis, api key, status codes, webhooks, webhook, cache invalidation
        index the table, 爬虫, 報錯, 报错, 数据结构, 链表, 二叉树, 递归, 前端, 后端, 二分探索, 配列, 이진 탐색
        배열에서, 크롤러, git, commits, staged, rebase, cherry pick, ssh key, sshd, iptables, systemctl, journalctl
        tmux, vim, neovim, emacs, ffmpeg, curl command, wget, rsync, jq, xargs, dockerfiles, helm chart, gitlab ci
        github actions, ci pipeline, jenkins, airflow, dbt, spark job, deno, eslint, tsx, jsx, usecontext, redux
        pinia, nuxt, sveltekit, htmx, css class, pixel perfect, xpath, beautifulsoup, playwright, puppeteer, cypress
        sqlalchemy, orm, alembic, pydantic, mypy, rustc, borrow checker, goroutine, goroutines, channels in go
        nullable, generics, enum, structs, pointer arithmetic, memory leak, valgrind, gdb, x86 64, arm64, bytecode
        regex for, regex that, unit of work, design pattern, singleton, factory pattern, microservice, microservices
        grpc, protobuf, openapi, swagger, graphql query, cors, csrf, xss, sql injection, prepared statement
        n 1 queries, query optimizer, explain analyze, window function, cte, group by, having clause
        pivot table formula, apps script, power query, dax, xlookup, sumifs, countif, index match, named range, latex
        bibtex, overleaf, gnuplot, ggplot, ggplot2, dplyr, tidyverse, spss syntax, sas code, simulink, labview, plc
        modbus, mqtt, i2c, spi, uart, gpio, stm32, firmware, bootloader, device tree, kernel module, syscall, epoll
        mutex, semaphore, deadlock, race condition, thread safe, async def, event loop, prototype chain, quick sort
        heap sort, dijkstra, memoization, bloom filter, union find, topological sort, segment tree, binary heap, avl
        red black tree, hash collisions, regexes, 汇编, 编译, 编译器, 单元测试, 报错信息, 堆栈, 线程, 协程, 内存泄漏
        排序算法, 快速排序, 冒泡排序, 二分查找, 动态规划, 哈希, 指针, 类型错误, 正则, 爬取, 接口文档, 中间件
        小程序开发, sql语句, 存储过程, 索引优化, 查询语句, 表结构, 命令行, 环境变量, テストコード, 単体テスト
        コンパイル, 再帰, クエリ, ソースコード, 関数を書, メソッド, クラスを, 実装し, デプロイ, 環境変数, 컴파일
        단위 테스트, 재귀, 쿼리, 예외, 메서드, 라이브러리, 배포, 환경 변수, sed command, sed one liner
        assembly language, vba macro, excel macro, git stash, trie data, promise all, 终端命令, pythonie, pythonu
        javie, javascripcie, pythonissa, pythonilla, pythonban, pythonben, pythonda, pythonla, javada, tableau trié
        excel formel, formule excel, fórmula de excel, formula excel, excel公式, excel 公式, エクセルの数式
        엑셀 수식, jest mock, axios, lodash, moment js, jupyter
        """,
    "code_word": """
        method, methods, programming, array, arrays, string, strings, integer, integers, boolean, tuple, loop, loops
        recursion, recursive, recursively, iterator, pointer, pointers, variable, variables, parameter, parameters
        queries, database, databases, schema, endpoint, endpoints, server, client, api, apis, json, csv, parser
        parse, compiler, runtime, library, package, module, framework, sdk, codes, coding, coder, developer
        programmer, software engineer, frontend, backend, component, repository, repo, git, branch, commit, bug, bugs
        exception, exceptions, compile, compiles, debugger, input output, stdin, stdout, time complexity
        space complexity, data structure, data structures, linux, ubuntu, terminal, command line, ssh, server side
        datenbank, klasse, schleife, base de données, boucle, classe, base de datos, bucle, clase, ciclo
        banco de dados, laço, код, кода, коде, массив, строку, строки, базу данных, цикл, запрос, класс, dizi, döngü
        kod, kodu, kodlama, veritabanı, tablicę, tablica, bazy danych, pętla, zapytanie, 数组, 字符串, 数据库, 变量
        循环, 接口, 编程, 配列, 文字列, データベース, 배열, 문자열, 데이터베이스, دالة, مصفوفة, برنامج, قاعدة بيانات
        फ़ंक्शन, फंक्शन, सरणी, dict, html page, dependencies, syntax, return value, object oriented, oop
        """,
    "code_product": """
        function, functions, program, programs, algorithm, algorithms, code, script to, script that, scripts to
        script in, script for, a script which, class that, class called, class named, class method, base class
        subclass, query, app, application, website, web page, webpage, web app, web application, landing page
        browser extension, discord bot, telegram bot, chatbot, command line tool, api, funktion, skript, programm
        algorithmus, webseite, anwendung, fonction, programme, algorithme, site web, función, programa, algoritmo
        código, página web, aplicación, funzione, programma, codice, sito web, applicazione, função, site, aplicativo
        functie, algoritme, функцию, функция, функции, программу, программа, программы, скрипт, алгоритм, сайт
        приложение, fonksiyon, fonksiyonu, fonksiyonunu, programı, algoritma, uygulama, web sitesi, funkcję, funkcja
        funkcji, skrypt, algorytm, stronę internetową, aplikację, hàm, chương trình, fungsi, aplikasi, 函数, 程序
        算法, 网页, 网站, 小程序, 関数, プログラム, アルゴリズム, アプリ, ウェブサイト, 함수, 프로그램, 알고리즘, 앱
        웹사이트, دالة, برنامج, موقع, تطبيق, خوارزمية, फंक्शन, फ़ंक्शन, प्रोग्राम, वेबसाइट, ऐप
        """,
    "write": """
        write, create, make, build, develop, design, generate, produce, provide, give, need, want, code, schreibe
        schreib, schreiben, erstelle, entwickle, baue, écris, écrire, écrivez, crée, créer, développe, rédige
        escribe, escribir, crea, crear, desarrolla, haz, scrivi, scrivere, sviluppa, escreva, escrever, crie
        desenvolva, faça, schrijf, maak, bouw, напиши, напишите, написать, создай, создайте, разработай, сделай, yaz
        yazın, yazar, oluştur, geliştir, napisz, stwórz, zbuduj, utwórz, 写, 编写, 写出, 创建, 设计, 开发, 書いて
        作って, 作成, 작성, 만들어, 써줘, اكتب, انشئ, صمم, लिख, बना
        """,
    "code_verb": """
        implement, implementing, implementation, debug, debugging, refactor, refactoring, compile, deploy, deploying
        optimize this code, code review, write code, write a code, coding, unittest, implementiere, implementieren
        programmiere, programmieren, debugge, implémente, implémenter, implémentez, programme, déboguer, code-moi
        implementa, implementar, programa, depura, depurar, implementare, programmare, implemente, programe
        implementeer, programmeer, реализуй, реализуйте, запрограммируй, напиши код, отладь, отладить, uygula, kodla
        kodlayın, kod yaz, zaimplementuj, zaprogramuj, napisz kod, debuguj, 实现一个, 写一个函数, 写一段代码, 调试
        编程实现, 实现以下, 実装, デバッグ, 구현, 디버깅, 코딩, اكتب كود, نفذ, कोड लिख
        """,
    "code_fault": """
        bug, error, errors, crash, crashes, fix, fails, failing, not working, doesn t work, does not work, broken
        wrong with, exception, warning, incorrect output, issue with, what s wrong, debug, fehler, fehlermeldung
        funktioniert nicht, behebe, korrigiere, erreur, ne fonctionne pas, ne marche pas, corrige, corriger
        no funciona, arregla, errore, non funziona, correggi, erro, não funciona, conserte, fout, werkt niet
        repareer, ошибка, ошибку, ошибки, не работает, исправь, исправьте, почини, hata, çalışmıyor, düzelt, błąd
        błędy, nie działa, popraw, napraw, 报错, 错误, 出错, 修复, 什么问题, 不工作, エラー, バグ, 動かない
        動きません, 直して, 오류, 에러, 버그, 작동하지, 고쳐, خطأ, لا يعمل, أصلح, त्रुटि, गलती, काम नहीं कर
        """,
    # reasoning
    "math_thing": """
        equation, equations, integral, integrals, derivative, derivatives, polynomial, quadratic, theorem, lemma
        triangle, triangles, hypotenuse, perimeter, circumference, radius, diameter, remainder, divisible
        probability, probabilities, permutation, permutations, combinatorics, combinations, expected value
        standard deviation, variance, confidence interval, null hypothesis, normal distribution, binomial, poisson
        matrix, matrices, eigenvalue, eigenvalues, determinant, logarithm, cosine, tangent, trigonometry, geometry
        algebra, calculus, arithmetic, prime number, prime numbers, least common multiple, greatest common divisor
        how many ways, differential equation, vector space, linear programming, simultaneous equations
        compound interest, simple interest, annual interest, interest rate, velocity, acceleration, kinetic energy
        molar mass, moles of, joules, phương trình, xác suất, tam giác, persamaan, peluang, segitiga, gleichung
        gleichungen, wahrscheinlichkeit, ableitung, dreieck, dreiecks, ableite, équation, équations, probabilité
        dérivée, intégrale, ecuación, ecuaciones, probabilidad, derivada, triángulo, equazione, probabilità, derivata
        integrale, triangolo, equação, equações, probabilidade, triângulo, vergelijking, kans dat, waarschijnlijkheid
        afgeleide, driehoek, уравнение, уравнения, вероятность, производную, производная, интеграл, треугольник
        треугольника, треугольнике, теорему, denklem, denklemi, denklemini, olasılık, olasılığı, türev, türevini
        üçgen, üçgenin, równanie, równania, prawdopodobieństwo, pochodną, pochodna, całkę, trójkąt, trójkąta, 方程
        概率, 导数, 积分, 三角形, 求解, 面积, 周长, 体积, 函数的, 不等式, 数列, 几何, 方程式, 確率, 微分, 積分, 面積
        방정식, 확률, 미분, 적분, 삼각형, 넓이, معادلة, المعادلة, احتمال, مشتقة, تكامل, مثلث, समीकरण, प्रायिकता
        त्रिभुज, अवकलज, क्षेत्रफल, derivative of, integral of, the integral, limit of, prime order, cyclic
        real roots, roots of, next number in the sequence, next term, number sequence, arithmetic sequence
        geometric sequence, umfang, rechteck, périmètre, rettangolo, 极值, 何通り, 順列, 組み合わせ, prime
        maggior comune divisore, massimo comune divisore, minimo comune multiplo, factors of, consecutive
        eigenvalues of, anagrams, anagramas, anagrammes, anagramme, 排列组合, 数学归纳, 矩阵, 方差, 正态分布, 等差
        等比, 质数, 素数, 余数, 最大公约数, 最小公倍数, 三角函数, 圆锥, 抛物线, 椭圆, 切线, 斜率, 勾股, 平行四边形
        梯形, 圆柱, 半径, 直径, 行列, ベクトル, 期待値, 余り, 公約数, 公倍数, 二次関数, 円錐, 円柱, 台形, 行列式
        固有値, 方程式を, 数列の, 최대공약수, 최소공배수, 행렬, 벡터, 소수, 나머지, 반지름, 지름, 이차함수, 등차수열
        vecteur, matrice, fonction affine, suite arithmétique, suite géométrique, nombre premier, nombres premiers
        espérance, triangle rectangle, rechtwinklig, rechtwinkliges, primzahl, primzahlen, zufallsvariable
        erwartungswert, teilbar, rest bei, zylinder, kugel, matriz, número primo, números primos, progresión
        hipotenusa, divisible entre, resto de dividir, progressão, numero primo, матрица, матрицы, вектор, радиус
        конус, цилиндр, простых чисел, простое число, остаток от, делится на, гипотенуза, прогрессия, прогрессии
        дисперсия, матожидание, корни уравнения, корень уравнения, torque, coefficient, resistor, resistors
        capacitor, inductor, voltage, wavelength, half life, molarity, titration, ph of, buffer solution
        stoichiometry, enthalpy, entropy of, ideal gas, free fall, projectile, inclined plane, buoyancy, pulley
        spring constant, refractive index, effective annual, annuity, amortization, present value, net present value
        isomorphic, homomorphism, subgroup, abelian, bijection, injective, surjective, modulo, congruent, gcd, lcm
        cardinality, countable, gradient of, divergence of, taylor series, power series, radius of convergence
        contour integral, residue theorem, markov chain, random walk, random variable, random variables, i i d
        conditional probability, bayes, 求极限, 数学期望, 向量的, kinetic friction, angular momentum
        conservation of momentum
        """,
    "math_word": """
        sum, total, average, mean, percent, percentage, ratio, fraction, angle, area, volume, square, cube, distance
        speed, per hour, per day, per week, twice, half, times as, dozen, profit, discount, integer, number of
        digits, digit, maximum, minimum, formula, prime factor, prime factors, multiple of, multiples of
        ordered pair, common fraction, vertices, midpoint, circle, polygon, decimal places, concentration, celsius
        km h, kg, m s, mol, ml, meters, metres, kilometers, miles, volts, ohms, newtons, summe, durchschnitt, prozent
        fläche, geschwindigkeit, doppelt, hälfte, somme, moyenne, pourcentage, aire, vitesse, moitié, suma, promedio
        porcentaje, área, velocidad, mitad, doble, somma, media, percentuale, velocità, metà, doppio, soma, média
        porcentagem, velocidade, metade, dobro, som, gemiddelde, procent, snelheid, helft, сумма, сумму, среднее
        процент, процентов, площадь, скорость, половина, половину, вдвое, раза, toplam, toplamı, ortalama, yüzde
        alanı, hız, hızı, yarısı, sumę, średnia, pole, prędkość, prędkością, połowa, połowę, 平均, 一共, 总共, 百分之
        每小时, 每天, 每分钟, 剩下, 还剩, 千克, 元, 倍, 速度, 合計, 割合, 時速, 半分, 평균, 합계, 속도, 퍼센트, 모두
        المجموع, متوسط, نسبة, سرعة, योग, औसत, प्रतिशत, गति, कुल, chance that, the chance, the chances, the odds
        without replacement, with replacement, at random, randomly, fair coin, coin, dice, die, marbles, per month
        per year, a raise, taxed, tax, depreciates, after how many, real x, real numbers, integers, whole number
        sequence, percent of, umfang, doppelt so, hypothek, durchschnittlich, tiers, moitié des, третью, треть
        четверть, осталось, 通り, 何通り, 그 수는, 三分之一, 二分之一, 极值, omtrek, straal, promień, promieniu, koła
        yarıçap, minimum number, weighings, fills, empties, repetition, original price, costs, steps, quanti, minuti
        minuten, stunden, km per hour, kilometers per hour, miles per hour, per cent, évente, százalék, prosent
        ποσοστό, אחוז, درصد, ร้อยละ, เปอร์เซ็นต์, phần trăm, persen, відсотків, відсотка, mehr als doppelt
        dreimal so, trois fois, deux fois plus, tres veces, due volte, втрое, на сколько, во сколько раз, 打折, 本金
        行驶, 相遇, 追上, 平均速度, 每分, 每人, 每个, 各有, 共有, 比多, 倍多, 个数, 甲、乙, 甲乙
        """,
    "how_many": """
        how many, how much, how long will, how long would, how far, how old, what is the value, find the value
        what is the sum, what is the total, what is the area, what is the probability, wie viele, wie viel, wieviele
        wieviel, wie lange, wie hoch ist, combien, cuánto, cuántos, cuánta, cuántas, cuantos, cuanto, quanti, quante
        quanto, quanta, quantos, quantas, hoeveel, сколько, kaç, ne kadar, ile, bao nhiêu, mấy, berapa, 多少, 个数
        最多可以, 至少需要, 几瓶, 几元, 几米, 几块, 几人, 几年, 几倍, 几岁, 几个, 几天, 几小时, 几本, 几只, 几种
        几分, 几次, いくつ, 何個, 何人, 何本, いくら, 何分, 何時間, 몇, 얼마, كم, कितने, कितना, कितनी, how long
        how tall, how big, how fast, what fraction, what percentage, what percent, hoe oud, hoe lang, quelle distance
        que distância, qué distancia, wie groß ist, wie alt, jak długo, ile lat, กี่, เท่าไหร่, เท่าไร, πόσα, πόσο
        πόσοι, πόσες, כמה, چند, چقدر, کتنے, কত, কয়টি, kolik, скільки, hur många, hur mycket, hvor mange, hvor mye
        kuinka monta, kuinka paljon, hány, mennyi, câte, câți, what day of the week, days from now, how soon
        at what time, in how many, 什么时候能, 多长时间, 几点, 多大, 多远, 多重, 多高
        """,
    "calculate": """
        calculate, compute, solve, evaluate, simplify, factorize, find the value, find the sum, find the area
        find the number, find all, determine the, work out, how fast, berechne, berechnen, löse, lösen, ausrechnen
        bestimme, calcule, calculez, calculer, résous, résoudre, résolvez, calcula, calcular, resuelve, resolver
        halla, calcola, calcolare, risolvi, risolvere, resolva, bereken, berekenen, los op, bepaal, вычисли
        вычислите, рассчитай, рассчитайте, посчитай, реши, решите, решить, найди, найдите, hesapla, hesaplayın, çöz
        çözün, bul, bulun, oblicz, rozwiąż, wyznacz, policz, 计算下, 计算出, 计算这, 计算以, 请计算, 计算一, 计算其
        并计算, 来计算, 计算：, 计算并, 求出, 求x, 解方程, 求解, 算一算, 計算, 解いて, 求めて, 求めよ, 계산, 풀어
        구하, احسب, أحسب, حل المعادلة, أوجد, गणना, हल कर, हल की, ज्ञात, tính, giải phương trình, giải hệ, tìm x
        คำนวณ, แก้สมการ, หาค่า, hitung, hitunglah, tentukan, selesaikan, חשב, חשבי, פתור, פתרו, υπολόγισε, υπολογίστε
        λύσε, να λυθεί, حساب کن, محاسبه, حل کن, معادله, হিসাব, সমাধান, নির্ণয়, vypočítej, vypočítejte, spočítej
        vyřeš, обчисли, обчисліть, розв'яжи, розв'яжіть, знайдіть, beräkna, lös ekvationen, beregn, laske, ratkaise
        számítsd, oldd meg, calculează, rezolvă, определите, find the probability, find the smallest
        find the largest, find the minimum, find the maximum, find the length, find the angle, find the volume
        find the perimeter, find the equation, find x, find the remainder, find the general, find the derivative
        find the limit, find the integral, find how, determine all, determine whether, determine how, solve for
        estimate the number, estimate how, approximate the, express in terms of, as a function of, 找规律, 填数, 求证
        试求, 求其, 求这, 问：, 求最, 列方程, 应用题
        """,
    "prove": """
        prove, proof, prove that, show that, derive, by induction, contradiction, disprove, beweise, beweisen, beweis
        zeige dass, démontre, démontrer, démontrez, prouve, prouver, demuestra, demostrar, demuestre, dimostra
        dimostrare, prove que, demonstre, bewijs, bewijzen, докажи, докажите, доказать, доказательство, kanıtla
        kanıtlayın, ispatla, udowodnij, wykaż, dowód, 证明, 證明, 証明, 증명, برهن, أثبت, सिद्ध, chứng minh, พิสูจน์
        buktikan, доведи, доведіть, απόδειξε, הוכח, הוכיחו, ثابت کن, اثبات, প্রমাণ, dokaž, bevisa, bevis, todista
        bizonyítsd, demonstrați, zeigen sie, man zeige, montrer que, montrez que, muestra que, mostre que
        si dimostri, 求证, 試證, 示せ, 증명하
        """,
    "logic": """
        puzzle, riddle, logic, logical, logically, deduce, deduction, deductive, inference, infer, reasoning
        syllogism, paradox, knights and knaves, truth teller, liar, who is lying, conclude, premise, premises
        brain teaser, sudoku, chess, rätsel, logik, logisch, schlussfolgere, schließe daraus, énigme, devinette
        logique, logiquement, acertijo, adivinanza, lógica, lógico, indovinello, logica, logico, enigma, charada
        raadsel, логическая, логическую, логически, загадка, загадку, головоломка, bilmece, mantık, mantıksal
        zagadka, zagadkę, logiczne, logiczna, łamigłówka, 推理, 逻辑, 谜语, 推断, 謎解き, 論理, なぞなぞ, 추론, 논리
        수수께끼, 퍼즐, لغز, منطق, استنتج, पहेली, तर्क
        """,
    "number_word": """
        two, three, four, five, six, seven, eight, nine, ten, twelve, twenty, hundred, each, every, another, zwei
        drei, vier, fünf, sechs, zehn, jede, jeder, deux, trois, quatre, cinq, chaque, dos, tres, cuatro, cinco, cada
        due, tre, quattro, cinque, ogni, dois, duas, três, quatro, twee, drie, vijf, elke, два, две, три, четыре
        пять, каждый, каждая, каждой, iki, üç, dört, beş, her, dwa, dwie, trzy, cztery, pięć, każdy, każda, third
        quarter, both, brothers, sisters, friends, half of, drittel, tiers, tercio, третью, треть, samen
        """,
    "relations": """
        clue, clues, each person, the person who, next to each other, directly left of, immediately left
        to the left of, to the right of, sits, sitting, seated, in a row, older than, younger than, taller than
        shorter than, faster than, slower than, youngest, oldest, tallest, shortest, is lying, tells the truth
        brother of, sister of, relationship between, related to, does not belong, odd one out, the next number
        next in the sequence, true or false, must be false, may be true, which direction, facing, overtake, overtook
        finishes before, all of the above, at least one of, if and only if, either, neither, consistent with
        must be true, nebeneinander, älter als, jünger als, größer als, links von, rechts von, plus âgé que
        plus grand que, à gauche de, mayor que, a la izquierda de, sentados, più vecchio di, a sinistra di
        mais velho que, à esquerda de, старше, младше, выше чем, слева от, справа от, сидит, daha büyük, solunda
        sağında, starszy od, wyższy od, na lewo od, 左边, 右边, 相邻, 比他, 真话, 假话, 说谎, 左隣, 右隣, 嘘をつ
        왼쪽, 오른쪽, 거짓말, does it follow, it follows that, follows that, follow that, ouder dan, jonger dan
        groter dan, sneller dan, who had, who has the, older dan, the remaining, did not, different, all of them
        some of them, none of them, plus vieux que, plus jeune que, menor que, north of, south of, east of, west of
        in which direction, what can be concluded, can be concluded, how many ways
        """,
    "step_by_step": """
        step by step, show your work, show your reasoning, show the steps, think carefully, explain your reasoning
        reasoning steps, think through, chain of thought, justify your answer, schritt für schritt, étape par étape
        pas à pas, paso a paso, passo dopo passo, passo a passo, stap voor stap, пошагово, шаг за шагом, adım adım
        krok po kroku, 一步一步, 逐步, 步骤, ステップごと, 段階的に, 단계별, خطوة بخطوة, चरण दर चरण
        """,
    # chat, by kind
    "creative": """
        story, stories, poem, poems, poetry, haiku, limerick, sonnet, song, lyrics, rap, verse, verses, fiction
        fictional, novel, chapter, dialogue, monologue, screenplay, movie script, fairy tale, fable, joke, jokes
        humorous, funny, pun, parody, fanfiction, fan fiction, short story, ballad, satire, backstory, narrative
        narrator, geschichte, gedicht, märchen, witz, lied, liedtext, kurzgeschichte, histoire, poème, conte, chanson
        blague, nouvelle, historia, cuento, poema, canción, chiste, relato, storia, racconto, poesia, canzone
        barzelletta, favola, história, conto, canção, música, piada, verhaal, sprookje, liedje, grap, рассказ
        рассказы, стих, стихи, стихотворение, сказку, сказка, песню, песня, анекдот, шутку, hikaye, hikâye, öykü
        şiir, şarkı, fıkra, masal, opowiadanie, wiersz, bajkę, bajka, piosenkę, żart, historię, 故事, 诗, 诗歌, 歌词
        小说, 童话, 笑话, 散文, 对联, 剧本, 物語, 小説, 俳句, 詩を, 歌詞, ジョーク, 이야기, 동화, 소설, 노래, 가사
        농담, 시를, قصة, قصيدة, شعر, أغنية, نكتة, رواية, कहानी, कविता, गीत, चुटकुला
        """,
    "writing": """
        essay, email, e mail, letter, blog, blog post, cover letter, speech, resume, cv, tweet, tweets, caption
        captions, slogan, slogans, headline, press release, newsletter, advertisement, product description
        linkedin post, instagram, facebook, outline, marketing, proposal, memo, invitation, toast, review
        announcement, paragraph about, article about, post about, script for, aufsatz, brief, rede, bewerbung
        anschreiben, werbetext, einladung, dissertation, lettre, courriel, discours, lettre de motivation, annonce
        ensayo, carta, correo, discurso, anuncio, saggio, lettera, discorso, annuncio, redação, ensaio, e-mail
        opstel, toespraak, uitnodiging, эссе, письмо, сочинение, речь, статью о, пост, объявление, приглашение
        kompozisyon, mektup, konuşma, e-posta, davetiye, esej, list, przemówienie, zaproszenie, wypracowanie
        ogłoszenie, 作文, 邮件, 信, 演讲稿, 广告, 文案, 标题, 简历, 作文を, メール, 手紙, スピーチ, 에세이, 이메일
        편지, 연설, 광고, مقال عن, رسالة, بريد, خطاب, निबंध, पत्र, ईमेल, भाषण
        """,
    "explain": """
        explain, describe, what is, what are, what does, define, definition, difference between, compare, comparison
        tell me about, overview, history of, how does, how do, why do, why does, why is, why are, pros and cons
        advantages, disadvantages, meaning of, erkläre, erklär, erklären, beschreibe, was ist, was sind, was bedeutet
        unterschied zwischen, warum, vergleiche, explique, expliquer, expliquez, décris, qu est-ce que, qu est ce
        différence entre, pourquoi, explica, explicar, explícame, qué es, que es, diferencia entre, por qué, spiega
        spiegami, descrivi, cos è, che cos, differenza tra, perché, descreva, o que é, diferença entre, por que
        leg uit, beschrijf, wat is, wat zijn, verschil tussen, waarom, объясни, объясните, опиши, опишите, что такое
        чем отличается, почему, расскажи, açıkla, açıklayın, anlat, nedir, neden, farkı, wyjaśnij, opisz, co to jest
        czym jest, dlaczego, różnica między, 解释, 介绍, 是什么, 什么是, 为什么, 描述, 区别, 说明, 説明, 教えて
        とは何, 違いは, なぜ, 설명, 알려줘, 무엇인가, 뭐야, 차이점, 왜, اشرح, ما هو, ما هي, لماذا, صف, الفرق بين
        समझा, क्या है, क्यों, वर्णन, अंतर, อธิบาย, คืออะไร, ทำไม, giải thích, là gì, tại sao, vì sao, jelaskan
        apa itu, mengapa, kenapa, поясни, чому, що таке, чим відрізняється, εξήγησε, γιατί, τι είναι, הסבר, הסבירי
        מה זה, למה, توضیح, چیست, چرا, ব্যাখ্যা, কী, কেন, vysvětli, proč, co je, förklara, varför, vad är, forklar
        hvorfor, hva er, selitä, miksi, mikä on, magyarázd, miért, mi az, explică, de ce, ce este
        """,
    "advice": """
        advice, tips, recommend, recommendation, recommendations, suggest, suggestion, suggestions, ideas, brainstorm
        recipe, recipes, itinerary, plan a trip, travel, trip, workout, diet, gift, names for, should i, how can i
        how should i, best way to, help me, give me some, list of, top 10, top ten, what should, rat, tipps, empfiehl
        empfehlung, empfehlungen, vorschläge, ideen, rezept, reise, conseils, conseil, recommande, recommandations
        idées, recette, voyage, suggère, consejos, recomienda, recomendaciones, receta, viaje, sugiere, sugerencias
        consigli, consiglia, idee, ricetta, viaggio, suggerisci, conselhos, dicas, recomende, recomendações, ideias
        receita, viagem, sugira, advies, recept, reis, ideeën, совет, советы, посоветуй, порекомендуй, идеи, рецепт
        путешествие, предложи, tavsiye, öneri, öneriler, öner, tarif, tarifi, fikir, seyahat, porady, rady, poleć
        przepis, pomysły, zaproponuj, podróż, 建议, 推荐, 怎么办, 如何, 食谱, 菜谱, 旅游, 计划, 点子, おすすめ
        アドバイス, レシピ, 旅行, アイデア, 추천, 조언, 레시피, 여행, 아이디어, نصيحة, نصائح, اقترح, وصفة, أفكار
        رحلة, सलाह, सुझाव, सुझाएं, नुस्खा, यात्रा, विधि, spanish for beginners, french for beginners
        german for beginners, italian for beginners, japanese for beginners
        """,
    "roleplay": """
        act as, pretend, imagine you are, imagine you re, imagine yourself, you are a, role play, roleplay
        in the style of, persona, character, characters, from the perspective of, interview, debate, stell dir vor
        du bist ein, imagine que, tu es un, imagina que, actúa como, eres un, immagina, fai finta, sei un, aja como
        você é um, doe alsof, je bent een, представь, ты —, ты эксперт, hayal et, gibi davran, wyobraź sobie, jesteś
        udawaj, 扮演, 假设你是, 你是一个, 你是一名, 角色, 想象, になりきって, 演じて, あなたは, 역할, 당신은, 가정해
        تخيل, تصرف ك, أنت, कल्पना
        """,
    "rewrite": """
        rewrite, rephrase, paraphrase, reword, proofread, proofreading, grammar, edit this, improve this
        make it sound, more formal, correct the grammar, spelling, edit the following, revise, tone, synonyms
        synonym, antonym, umformulieren, formuliere, korrekturlesen, grammatik, reformule, reformuler, grammaire
        orthographe, reescribe, reformula, gramática, riscrivi, riformula, grammatica, reescreva, herschrijf
        herformuleer, перепиши, перефразируй, грамматические, грамматику, yeniden yaz, dilbilgisi, przepisz
        przeredaguj, gramatyczne, 改写, 润色, 语法, 改成, 同义词, 書き直して, 言い換えて, 添削, 文法, 다시 써
        고쳐 써, 문법, 맞춤법, أعد صياغة, أعد كتابة, قواعد اللغة, फिर से लिख, व्याकरण, polish this, polish my
        polish the, polish up, polish it
        """,
    "extract": """
        extract, classify, categorize, categorise, sentiment, label the, labels, named entities, entities, keywords
        key phrases, identify the, fill in, tag the, parse the following text, according to the text
        according to the passage, based on the passage, positive or negative, convert the following into a table
        into a table, as json, in json format, extrahiere, klassifiziere, stimmung, extrais, extraire, classe
        classifie, extrae, extraer, clasifica, sentimiento, estrai, classifica, extraia, classifique, haal uit
        classificeer, извлеки, классифицируй, определи тональность, çıkar, sınıflandır, wyodrębnij, wypisz
        sklasyfikuj, 提取, 抽取, 分类, 情感, 关键词, 归类, 抽出, 分類, 추출, 분류, 감정, استخرج, صنف, निकालें
        वर्गीकृत
        """,
    "greeting": """
        hi, hello, hey, good morning, good evening, good night, thanks, thank you, how are you, what s up
        nice to meet you, who are you, bye, goodbye, ok, okay, lol, cool, hallo, guten morgen, guten tag, danke
        wie geht, wer bist du, bonjour, salut, merci, ça va, bonsoir, hola, buenos días, gracias, qué tal, cómo estás
        ciao, buongiorno, grazie, come stai, olá, oi, bom dia, obrigado, obrigada, tudo bem, hoi, goedemorgen
        dank je, bedankt, привет, здравствуйте, спасибо, как дела, доброе утро, merhaba, selam, günaydın, teşekkürler
        teşekkür ederim, nasılsın, cześć, dzień dobry, dziękuję, jak się masz, 你好, 谢谢, 早上好, 您好, 再见
        こんにちは, ありがとう, おはよう, 元気ですか, 안녕, 감사합니다, 고마워, مرحبا, شكرا, السلام عليكم, كيف حالك
        صباح الخير, नमस्ते, धन्यवाद, कैसे हो, कैसे हैं
        """,
    "fact_question": """
        who, whom, whose, when did, when was, when is, where, which, in which, what year, what was, what were
        what country, what city, what kind, what type, name the, capital of, author of, born, died, invented, wer
        wann, wo, welche, welcher, welches, hauptstadt, qui, quand, où, quelle, quel, capitale, quién, cuándo, dónde
        cuál, capital de, chi, quando, dove, quale, quem, onde, qual, wie is, wanneer, waar, welke, hoofdstad, кто
        когда, где, какой, какая, какое, столица, kim, ne zaman, nerede, hangi, başkenti, kto, kiedy, gdzie, który
        która, jaka, jaki, stolica, 谁, 哪, 什么时候, 哪里, 哪个, 哪些, 首都, 誰, いつ, どこ, どの, 누구, 언제, 어디
        수도, 어느, من هو, متى, أين, عاصمة, कौन, कब, कहाँ, कहां, राजधानी, किस
        """,
    # image
    "draw": """
        draw, paint, sketch, zeichne, zeichnen, male, malen, skizziere, dessine, dessinez, dessiner, peins, dibuja
        dibujar, dibújame, dibujame, pinta, disegna, disegnami, disegnare, dipingi, desenhe, desenha, desenhar, pinte
        teken, tekenen, schilder, нарисуй, нарисуйте, нарисовать, изобрази, çiz, çizin, çizer, çizebilir, narysuj
        namaluj, rysunek przedstawiający, rita, nakresli, vẽ, gambarkan, lukis, 画一, 画个, 画張, 画出一, 画只, 畫一
        绘制一张, 绘制一幅, 画幅, 描いて, 描いてください, イラストを作, 絵を描, 그려, 그림 그려, ارسم, ارسمي
        رسم صورة, चित्र बना, तस्वीर बना, चित्र बनाओ, วาด, vẽ cho, lukiskan, צייר, ציירי, ζωγράφισε, بکش, নকশা, আঁকো
        আঁকুন, naše kresli, nakreslit, намалюй, намалюйте, rajzolj, piirrä, desenează, måla, tegn, zeichne mir
        male mir, dessine-moi, dibújanos, desenhe-me, peins-moi, 画出, 画张, 绘一, 绘制
        """,
    "draw_idiom": """
        draw conclusions, draw a conclusion, draw the conclusion, draw any conclusions, draw some conclusions
        draw your own conclusions, draw comparisons, draw a comparison, draw parallels, draw a parallel
        draw the line, draw a line, draw lines between, draw a distinction, draw distinctions, draw inferences
        draw an inference, draw attention, draw lessons, draw on, draw upon, draw from, draw up, draw out
        draw an analogy, draw analogies, draw inspiration, draw connections, draw a connection, draw a diagram
        draw a graph, draw the graph, draw a chart, draw a table, draw a flowchart, draw a flow chart, draw a uml
        draw an er diagram, draw the structure, draw a circuit, draw a tree, draw the free body, draw a bar
        draw a pie, draw a number line, draw blood, draw a card, draw cards, draw a random, draw two cards
        paint a picture of how, paint a picture of what, sketch the graph, sketch a graph, sketch the curve
        sketch out, 画出函数, 画图像, 画饼, 画一个图表, 画流程图, グラフを描
        """,
    "make": """
        generate, create, make, design, produce, render, give me, show me, imagine, i want, i need, i would like
        i d like, can i get, can i have, illustrate, erstelle, erzeuge, generiere, gestalte, entwirf, mach, zeig mir
        crée, créez, créer, génère, générez, générer, fais, faites, conçois, crea, crear, genera, generar, haz
        diseña, hazme, disegna, creami, generami, progetta, fai, fammi, crie, criar, gere, gerar, faça, projete, maak
        genereer, ontwerp, создай, создайте, сгенерируй, сгенерируйте, сделай, сделайте, придумай, oluştur, oluşturun
        yap, üret, tasarla, hazırla, stwórz, wygeneruj, zrób, zaprojektuj, utwórz, skapa, vytvoř, tạo, buat, buatkan
        """,
    "picture": """
        image, images, picture, pictures, photo, photos, photograph, photographs, illustration, illustrations
        drawing, drawings, painting, sketch, logo, logos, icon, icons, poster, wallpaper, portrait, artwork, avatar
        sticker, stickers, mascot, emblem, banner image, banner, cartoon, caricature, watercolor, watercolour
        infographic, thumbnail, tattoo, album cover, book cover, comic strip, clip art, clipart, render
        3d model render, digital art, pixel art, concept art, bild, bilder, foto, zeichnung, gemälde, plakat, dessin
        affiche, imagen, imágenes, fotografía, dibujo, ilustración, cartel, retrato, logotipo, immagine
        immagini, disegno, illustrazione, locandina, ritratto, imagem, imagens, desenho, ilustração, cartaz
        afbeelding, afbeeldingen, plaatje, tekening, illustratie, изображение, картинку, картинка, картинки, рисунок
        фото, иллюстрацию, логотип, постер, портрет, görsel, görseli, görselini, resim, resmi, resmini, fotoğraf
        fotoğrafı, çizim, obraz, obrazek, zdjęcie, rysunek, ilustrację, grafikę, obrázek, hình ảnh, gambar, 插画
        插图, 头像, 海报, 壁纸, 表情包, 图标, 照片, 漫画, 水彩, 油画, 素描, 封面图, 配图, 标志, イラスト, 壁紙
        アイコン, ポスター, ロゴ, 水彩画, 油絵, 写真風, アニメ調, 일러스트, 포스터, 아이콘, 로고, 배경화면, 삽화
        수채화, ilustrasi, poster untuk, hình nền, tranh, minh họa, ภาพ, รูป, โลโก้, зображення, картинку з
        ілюстрацію, εικόνα, λογότυπο, תמונה, ציור, לוגו, איור, تصویر, نقاشی, لوگو, ছবি, লোগো, plakát, ilustraci
        bild av, affisch, kuva, juliste, kép, rajz, imagine cu, ilustrație, fondo de pantalla, fond d'écran
        hintergrundbild, titelbild, vignette, aquarelle, acuarela, acquerello, aquarela, акварель, акварелью, обложку
        обложка, аватарку, аватар, иконку, стикер, баннер, profile pic, profile picture, pfp, sticker set
        coloring page, colouring page, children s book illustration, mockup, album art, emoji
        """,
    "picture_request": """
        görsel oluştur, görseli oluştur, görselini oluştur, resim oluştur, resmi oluştur, resmini oluştur, resim yap
        resmini yap, görsel üret, resim çiz, resmi çiz, resmini çiz, 生成一张, 生成图片, 生成图像, 一张图片, 画一张
        一幅画, 做一张图, 设计一个标志, 设计一个logo, 设计一张海报, 设计logo, 的图片。, 生成一幅, 创作一幅
        画像を生成, 画像を作, 絵を作, 写真を生成, イラストを生成, ロゴを作, ロゴをデザイン, 이미지를 생성
        이미지 생성, 이미지를 만들, 그림을 만들, 사진을 만들, 로고를 디자인, 로고를 만들, 그림을 그려, أنشئ صورة
        إنشاء صورة, توليد صورة, صمم شعار, صمم لي شعار, اصنع صورة, ولّد صورة, छवि बना, छवि उत्पन्न, लोगो बना
        लोगो डिज़ाइन, तस्वीर बनाएं, फोटो बना
        """,
    "picture_style": """
        photorealistic, hyperrealistic, hyper realistic, photo realistic, octane render, unreal engine, artstation
        trending on, highly detailed, intricate details, cinematic lighting, volumetric lighting, studio lighting
        dramatic lighting, bokeh, depth of field, oil painting, oil on canvas, watercolor, watercolour
        charcoal drawing, pencil sketch, line art, vector art, flat vector, digital art, digital painting
        concept art, pixel art, pop art, art deco, art nouveau, ukiyo e, anime style, manga style, studio ghibli
        pixar style, cyberpunk style, steampunk, low poly, isometric, wide angle, close up, closeup, macro photo
        aerial view, bird s eye view, 35mm, 50mm, 85mm, 4k, 8k, uhd, hdr, dslr, ultra detailed, ultra realistic
        masterpiece, best quality, golden hour, in the style of van gogh, impressionist, surrealist, surrealism
        minimalist, stained glass, long exposure, film grain, polaroid, ar 16, niji, white background
        digital illustration, ilustración digital, illustration numérique, digitale illustration
        illustrazione digitale, ilustração digital, flat illustration, flat design, flat lay, soft light
        soft lighting, rim light, backlit, muted colors, pastel colors, pastel tones, muted palette, neon lights
        high contrast, black and white photo, ink drawing, ink wash, woodcut, linocut, gouache, charcoal
        crayon drawing, claymation, voxel, 3d render, isometric view, cinematic, cinematic still, film still
        double exposure, vaporwave, synthwave style, art style, children s book illustration, storybook illustration
        vector illustration, sticker style, transparent background, tilt shift, shallow depth, product photo
        product shot, studio shot, fashion photography, street photography, portrait photography, macro photography
        hyperdetailed, ultra wide, v 6, stylize, 扁平插画, 扁平风格, 赛博朋克, 水墨, 水墨画, 国画风格, 像素风, 日系
        二次元, 写实风格, 高清, 超清, 超高清, 电影感, 光影, 景深, 特写, 广角, 柔光, 逆光, 白色背景, 纯色背景
        莫奈风格, 梵高风格, 宫崎骏, 极简风, 插画风, 3d渲染, 氛围感, 浮世絵風, ジブリ風, アニメ風, 水彩風, 油絵風
        ドット絵, フラットデザイン, 高精細, 白背景, 파스텔톤, 수채화 느낌, 지브리 스타일, 픽셀 아트, 흰 배경
        사이버펑크, acuarela, estilo anime, aquarelle, style bande dessinée, акварель, в стиле аниме, пиксель арт
        sulu boya, akwarela, estilo aquarela, tons pastel, tonos pastel, couleurs pastel, pastelltöne, ölgemälde
        aquarell, bleistiftzeichnung, gouache texture, peinture à l'huile, óleo sobre lienzo, dipinto a olio
        pintura a óleo, масло на холсте, в стиле пиксар, советский плакат, serigrafía, siebdruck, oil pastel, pastels
        sepia, risograph, screenprint, photograph of, lighting, 摄影作品, 长曝光, 对称构图, 黑色背景
        """,
    "not_picture": """
        describe, description, descriptions, image description, alt text, image prompt, prompt, prompts, midjourney
        stable diffusion prompt, image classifier, image classification, image recognition, image processing
        picture of how, picture of what, picture with words, logo design, logo designer, picture book
        portrait gallery, photo gallery, photo editor, photo editing, image editor, image editing, icon library
        icon set, image gallery, image viewer, image upload, image carousel, image slider, image url, image file
        image dataset, image tag, image search, docker image, container image, disk image, image of the function
        mirror image, self image, body image, how to draw, how do i draw, how can i draw, learn to draw, how to paint
        how do you draw, diagram, flowchart, flow chart, chart, graph, plot, histogram, ascii, svg, html, css, table
        mind map, timeline, uml, wireframe, dashboard, spreadsheet, presentation, slides, beschreibe, décris
        describe esta, describe la, descrivi, descreva, beschrijf, опиши, опишите, tanımla, opisz, 描述, 説明して
        묘사, 설명, صف, वर्णन, 图表, 流程图, グラフ, 차트, प्रॉम्प्ट, diagramme, organigramme, diagramm, tabelle
        organigramm, diagrama, organigrama, tabla, tabela, diagramma, tabella, organigramma, un gráfico, диаграмму
        таблицу, таблица, график, 表格, 时间表, フローチャート, 表を描, 表を作, schema
        """,
    # difficulty: conditions that an answer must meet, and the vocabulary of specialists, in code and in mathematics
    "constraint": """
        must, exactly, at least, at most, without, only, ensure, no more than, no less than, constraint, constraints
        requirement, requirements, should not, do not, avoid, include, muss, genau, mindestens, höchstens, ohne
        exactement, au moins, sans, exactamente, al menos, sin, esattamente, almeno, senza, exatamente, pelo menos
        sem, ровно, не менее, без, должен, должна, 必须, 至少, 不超过, 不要, 必ず, 以上, 以内, 반드시, 이상, 이하
        """,
    "expert": """
        concurrency, concurrent, distributed, race condition, race conditions, deadlock, mutex, multithreading
        multithreaded, thread safe, thread safety, lock free, memory leak, kernel, compiler, garbage collector
        consensus, raft, paxos, np hard, np complete, time complexity, asymptotic, optimization problem
        reverse engineer, differential equation, differential equations, partial differential, topology, manifold
        eigenvalue, eigenvalues, eigenvectors, fourier, laplace, stochastic, markov, bayesian, lagrangian
        hamiltonian, quantum, tensor, group theory, homomorphism, isomorphism, convergence, converges, riemann
        combinatorial, olympiad, induction, measure theory, number theory, game theory, nebenläufigkeit
        differentialgleichung, concurrence, équation différentielle, concurrencia, ecuación diferencial
        equazione differenziale, equação diferencial, многопоточность, дифференциальное, diferansiyel, różniczkowe
        并发, 分布式, 微分方程, 特征值, 傅里叶, 並行処理, 分散, 微分方程式, 동시성, 미분방정식
        """,
    # agent steps in plain text
    "agent_format": """
        action input, final answer, next action, available tools, the following tools, access to the following
        tool call, tool calls, function call, function calls, call the function, use the tool, use the tools
        available actions, choose an action, valid actions, action space, take exactly one, provided tools
        tools provided, tool provided, use a tool, one tool, function calling, calling the function
        available functions, respond with one action, you have to choose, each turn, your turn, autonomous agent
        as an agent, agent that, observation from, the environment, tool use, tool result, tool results, invoke
        last action, your next action, next step of the plan, remaining goal, output the call, one function call
        single function call, only output one, exactly one command, one command, function_call, tool_result, tool_use
        tool_call, you can call, you may call, control a browser, you control a, choose one of the tools, which tool
        tools available, has access to the following, tools to use, available commands, respond with a json object
        call as json, the call as json, folgende werkzeuge, folgenden werkzeuge, verfügbare werkzeuge, werkzeuge
        nächsten aufruf, nächste aktion, outils suivants, outils disponibles, herramientas disponibles
        siguientes herramientas, strumenti disponibili, ferramentas disponíveis, следующие инструменты
        доступные инструменты, инструменты, 以下工具, 可用工具, 调用工具, 下一步操作, 下一步行动, 次のツール
        利用可能なツール, 다음 도구, 사용 가능한 도구, الأدوات التالية, herramientas, outils, function result
        call another function, which tool do you call, exactly one tool, agent autonome, agente autónomo
        siguiente acción, action suivante, ai agent, tools, 可以调用下列函数, 可以调用以下函数, 调用下列, 调用以下
        你可以使用的工具, 可用的工具, 可用函数, 可用动作, 函数调用, 智能体, 只能调用一个, 请输出下一步, 下一个动作
        工具调用, 工具列表, 工具返回, 调用结果, 使用できる関数, 使えるツール, 使用可能なツール, 使用できるツール
        次の行動, 次のアクション, エージェント, ツールを呼び出, 関数を呼び出, ツール一覧, 에이전트
        사용할 수 있는 함수, 사용할 수 있는 도구, 함수 하나만, 도구 목록, 다음 행동, 호출하라, 도구를 호출
        puedes usar estas, puedes llamar, funciones disponibles, acciones disponibles, llama a una función
        llamada a función, entrada de la acción, agente de, vous pouvez appeler, fonctions disponibles
        actions disponibles, appel d'outil, prochaine action, tu disposes des outils, tu es un agent
        verfügbare funktionen, verfügbare aktionen, funktionsaufruf, du bist ein agent, nächster schritt des agenten
        funções disponíveis, ações disponíveis, chame uma função, próxima ação, azioni disponibili
        funzioni disponibili, prossima azione, chiamata di funzione, доступные функции, доступные действия
        вызови функцию, следующее действие, вызов инструмента, ты агент, kullanılabilir araçlar, sonraki eylem
        araçlar, narzędzia, dostępne funkcje, dostępne narzędzia, następna akcja, alat yang tersedia, công cụ sau
        các công cụ, الأدوات المتاحة, الإجراء التالي, उपलब्ध टूल, ابزارهای زیر, shell agent, web agent, browser agent
        click on element, current url, page elements, dom tree, available skills, issue one command, next command
        the tools are, tools are, functions are, output a json action, output json with, reply with the next
        decide the next, next tool, next call, what is your next, emit exactly, tool schema, tool schemas
        function schema, policy agent, agent policy, 当前屏幕, 下一步动作, 当前网址, 可交互元素, 动作包括
        输出一个动作, 以 json 输出下一步, 操作助手, 自动化代理, 浏览器自动化, exactly one command per turn
        one command per turn, autonomous coding agent, coding agent, linux shell agent, you are controlling
        you control, interactive elements, next step as json, reply with an action, reply with one action
        current screen, browser automation, folgenden werkzeugen, mit folgenden werkzeugen, assistent mit folgenden
        kamu adalah agen, agen layanan, ты — агент, доступные команды, доступні команди, لديك الأدوات, أدواتك
        الأدوات الآتية, você é um agente, eres un agente, sei un agente, jesteś agentem, bạn là tác nhân
        sen bir ajansın
        """,
}
"""Marker -> its phrases."""
